use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use super::*;
use crate::MetricsOptions;

/// A recorder whose clock goes on by a second with each error.
fn errors() -> (Errors, Metrics) {
    let metrics = Metrics::new(&MetricsOptions::default(), "test");
    let seconds = AtomicU64::new(0);
    let now = move || Duration::from_secs(seconds.fetch_add(1, Ordering::SeqCst));
    (Errors::new(metrics.clone(), now), metrics)
}

fn in_request(id: &[u8; 32], work: impl FnOnce()) {
    RequestScope::new(id, b"0af7651916cd43dd8448eb211c80319c", None).run(work);
}

#[test]
fn errors_of_one_cause_are_counted_together() {
    let (errors, _) = errors();
    in_request(b"00000000000000000000000000000001", || errors.failed_request("row 1 is broken", "/a"));
    in_request(b"00000000000000000000000000000002", || errors.failed_request("row 2 is broken", "/a"));
    errors.failed_request("row 2 is broken", "/b");
    errors.failed_job("row 2 is broken", "/a");
    let mut groups = errors.fetch();
    groups.sort_by_key(|group| group.first_at);
    assert_eq!(groups.iter().map(|group| group.times).collect::<Vec<_>>(), [2, 1, 1]);
    let first = &groups[0];
    assert_eq!((first.message.as_str(), first.route.as_deref()), ("row 2 is broken", Some("/a")));
    assert_eq!(first.last_request_id.as_deref(), Some("00000000000000000000000000000002"));
    assert_eq!((first.first_at, first.last_at), (Duration::ZERO, Duration::from_secs(1)));
    assert!(errors.fetch().is_empty(), "they are fetched once");
}

#[test]
fn sr_69_errors_without_room_are_counted_and_wait_for_nobody() {
    let (errors, metrics) = errors();
    // Nobody fetches them.
    for n in 0..300 {
        let word: String = format!("{n:03}").bytes().map(|digit| char::from(b'g' + digit - b'0')).collect();
        errors.failed_request(&word, "/a");
        errors.failed_request(&word, "/a");
    }
    let kept: u64 = errors.fetch().iter().map(|group| group.times).sum();
    assert_eq!(kept, 512);
    let page = metrics.render(false);
    assert!(page.contains("error_reports_dropped_total 88\n"), "{page}");
}

#[test]
fn what_is_given_back_is_delivered_with_the_next() {
    let (errors, _) = errors();
    errors.failed_request("broken", "/a");
    let undelivered = errors.fetch();
    errors.failed_request("broken", "/a");
    errors.give_back(undelivered);
    let groups = errors.fetch();
    assert_eq!((groups.len(), groups[0].times), (1, 2));
    assert_eq!((groups[0].first_at, groups[0].last_at), (Duration::ZERO, Duration::from_secs(1)));
}

#[test]
fn an_error_wakes_who_waits_for_one() {
    let (errors, _) = errors();
    let mut next = pin!(errors.next());
    let mut context = Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(&mut context).is_pending());
    errors.failed_request("broken", "/a");
    assert!(next.as_mut().poll(&mut context).is_ready());
}

#[test]
fn sr_47_a_recorded_error_holds_no_secret() {
    let (errors, _) = errors();
    errors.failed_request("Key (email)=(ada@example.com) already exists", "/a");
    errors.failed_job("token=hunter2", "mails");
    let panic = catch_panic(|| panic!("no user \"hunter2\"")).map(|()| unreachable!());
    errors.panicked(&panic.expect_err("it panicked"), Some("/a"));
    let groups = errors.fetch();
    assert_eq!(groups.len(), 3);
    for group in groups {
        let all = format!("{group:?}");
        assert!(!all.contains("ada") && !all.contains("hunter2"), "{all}");
    }
}

#[test]
fn a_panic_that_nothing_catches_is_recorded_with_its_request() {
    let (errors, metrics) = errors();
    errors.report_panics();
    let thread = std::thread::spawn(|| {
        in_request(b"00000000000000000000000000000007", || panic!("a thread is broken"));
    });
    thread.join().expect_err("it panicked");
    let groups = errors.fetch();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert!(group.message.starts_with("a thread is broken (at ") && group.message.contains("tests.rs:"), "{group:?}");
    assert_eq!(group.last_request_id.as_deref(), Some("00000000000000000000000000000007"));
    assert!(metrics.render(false).contains("panics_total 1\n"));
}

#[test]
fn a_panic_that_is_caught_is_left_to_the_catcher() {
    let (errors, metrics) = errors();
    errors.report_panics();
    let caught = catch_panic(|| panic!("a request is broken")).map(|()| unreachable!());
    let panic = caught.expect_err("it panicked");
    assert!(errors.fetch().is_empty());
    assert!(panic.location().is_some_and(|place| place.contains("tests.rs:")), "{panic:?}");
    errors.panicked(&panic, Some("/a"));
    assert_eq!(errors.fetch()[0].route.as_deref(), Some("/a"));
    assert!(metrics.render(false).contains("panics_total 1\n"));
    // The next panic has a place of its own.
    let other = catch_panic(|| panic!("another")).map(|()| unreachable!()).expect_err("it panicked");
    assert_ne!(panic.location(), other.location());
}
