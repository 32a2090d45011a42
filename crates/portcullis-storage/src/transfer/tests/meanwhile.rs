//! What others do to either database before, between and during attempts.

use super::*;

/// Changes a database while a move runs, as its first table begins.
struct Meddler {
    side: Option<DirectConnection>,
    script: &'static str,
}

impl TransferProgress for Meddler {
    fn table(&mut self, _name: &'static str, _rows: u64, _carried_before: u64) {
        let Some(mut side) = self.side.take() else { return };
        let changed = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(side.script("UPDATE", self.script))
        });
        changed.expect("changes");
    }

    fn carried(&mut self, _rows: u64) {}

    fn comparing(&mut self) {}
}

/// A move that gives up after a thousand rows.
async fn interrupt(from: &Home, to: &Home) {
    let (source, target) = (from.options(), to.options());
    let interrupted = tokio::spawn(async move {
        transfer(&source, &target, false, &mut Ear { left: 999, carried_before: 0 }).await.map(|_| ())
    });
    assert!(interrupted.await.expect_err("it panics half-way").is_panic());
}

async fn what_is_written_after_the_beginning_stays_behind(from: Home, to: Home) {
    fill(&from, 20).await;
    let script = "UPDATE users SET first_name = 'Eve'; DELETE FROM sessions; INSERT INTO instance VALUES ('b', 'c')";
    let mut meddler = Meddler { side: Some(from.side().await), script };
    let tables = transfer(&from.options(), &to.options(), false, &mut meddler).await.expect("it is not disturbed");
    let rows = |name: &str| tables.iter().find(|table| table.name == name).expect("is carried").sum.rows;
    assert_eq!((rows("users"), rows("sessions"), rows("instance")), (20, 20, 1));
    assert_eq!(from.side().await.count("sessions").await.expect("reads"), 0, "the source was not changed meanwhile");
    let users = to.store().await.list_users(&crate::UserFilter::default(), 20, 0).await.expect("reads").users;
    let name = ProfileName::parse("First name", "Zoë 🦊").expect("valid");
    assert!(users.iter().all(|user| user.first_name == name));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_sqlite_after_the_beginning_stays_behind() {
    what_is_written_after_the_beginning_stays_behind(sqlite(), postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_postgresql_after_the_beginning_stays_behind() {
    what_is_written_after_the_beginning_stays_behind(postgres(), sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_the_target_meanwhile_is_found_by_the_comparison() {
    let (from, to) = (sqlite(), postgres());
    fill(&from, 5).await;
    to.store().await.close().await;
    let mut meddler = Meddler { side: Some(to.side().await), script: "INSERT INTO instance VALUES ('b', 'c')" };
    let told = transfer(&from.options(), &to.options(), false, &mut meddler).await.expect_err("they differ");
    assert!(matches!(told, TransferError::Different { table: "instance", resumed: false, .. }), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_new_rows_clash_with_carried_ones_is_moved_afresh() {
    for (from, to) in [(sqlite(), postgres()), (postgres(), sqlite())] {
        fill(&from, 1_100).await;
        interrupt(&from, &to).await;
        // One who was carried goes, and somebody else takes the address.
        let swap = "DELETE FROM users WHERE username = 'person0'; \
            UPDATE users SET email = 'person0@xn--bcher-kva.example', username = 'person0' WHERE username = 'person1099'";
        from.side().await.script("UPDATE", swap).await.expect("changes");
        let told = transfer(&from.options(), &to.options(), false, &mut Ear::patient()).await.expect_err("it clashes");
        assert!(matches!(told, TransferError::Clash { table: "users", resumed: true, .. }), "{told:?}");
        assert!(told.hint().is_some_and(|hint| hint.contains("--restart")), "{:?}", told.hint());
        transfer(&from.options(), &to.options(), true, &mut Ear::patient()).await.expect("moves afresh");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_left_byte_for_byte_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| Home { url: DatabaseUrl::sqlite(folder.path().join(name)), _folder: None, _server: None };
    let (from, nothing, text) = (at("from.db"), at("nothing.db"), at("text.db"));
    fill(&from, 5).await;
    let content = |home: &Home| {
        let DatabaseUrl::Sqlite { path } = &home.url else { unreachable!("it is SQLite") };
        std::fs::read(path).expect("is there")
    };
    std::fs::write(folder.path().join("nothing.db"), "").expect("the folder is writable");
    std::fs::write(folder.path().join("text.db"), "Remember the milk. ".repeat(100)).expect("the folder is writable");
    let before = [content(&from), content(&nothing), content(&text)];
    carry_all(&from, &sqlite()).await;
    let attempt = async |from: &Home| {
        transfer(&from.options(), &sqlite().options(), false, &mut Ear::patient()).await.expect_err("is refused")
    };
    assert!(matches!(attempt(&nothing).await, TransferError::SourceSchema { found: 0, .. }));
    let told = attempt(&text).await;
    assert!(matches!(told, TransferError::Source(OpenError::NotADatabase { .. })), "{told:?}");
    assert!(told.hint().is_some_and(|hint| hint.contains("--from")), "{:?}", told.hint());
    assert!([content(&from), content(&nothing), content(&text)] == before, "looking changed a source");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_by_two_names_is_one_database() {
    let home = sqlite();
    home.store().await.close().await;
    let DatabaseUrl::Sqlite { path } = &home.url else { unreachable!("it is SQLite") };
    let link = path.with_file_name("link.db");
    std::os::unix::fs::symlink(path, &link).expect("the folder is writable");
    let other = Home { url: DatabaseUrl::sqlite(link), _folder: None, _server: None };
    let told = transfer(&home.options(), &other.options(), false, &mut Ear::patient()).await.expect_err("is refused");
    assert!(matches!(told, TransferError::Same), "{told:?}");
}
