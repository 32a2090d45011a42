//! `portcullis backup create`.

use std::time::Instant;

use portcullis_backup::{BackupProgress, CreatedBackup};
use portcullis_settings::Settings;
use serde_json::{Value, json};

use super::{Place, describe, manifest_json, merged, size};
use crate::commands::output::{Failure, print, print_json};
use crate::commands::progress::{RowProgress, rate};
use crate::commands::{Format, runtime};

pub(super) fn run(settings: &Settings, place: &Place, format: Format) -> Result<(), Failure> {
    let runtime = runtime::start()?;
    let mut progress = RowProgress::new(format);
    let begun = Instant::now();
    let making = crate::assembly::offline::back_up(settings, &place.folder, &place.keys, &mut progress);
    let made = runtime.block_on(Box::pin(making));
    progress.end();
    show(&made.map_err(|error| describe(&error))?, begun.elapsed().as_secs_f64(), format);
    Ok(())
}

fn show(made: &CreatedBackup, seconds: f64, format: Format) {
    let CreatedBackup { name, bytes, manifest } = made;
    if format.json {
        let tables = manifest.tables.iter();
        let tables = tables.map(|table| json!({ "table": table.name, "rows": table.rows, "checksum": table.checksum }));
        let backup = json!({
            "id": name.id(),
            "name": name.to_string(),
            "sizeBytes": bytes,
            "seconds": seconds,
            "tables": tables.collect::<Vec<Value>>(),
        });
        print_json(&json!({ "backup": merged(backup, manifest_json(manifest)) }));
        return;
    }
    let (rows, size, speed) = (manifest.rows(), size(*bytes), rate(manifest.rows(), seconds));
    let reader = match manifest.recipients.len() {
        0 => "the same ENCRYPTION_KEY".to_owned(),
        1 => "the same ENCRYPTION_KEY and the private key of its recipient".to_owned(),
        count => format!("the same ENCRYPTION_KEY and one of the private keys of its {count} recipients"),
    };
    print(&format!(
        "Made {name}: {rows} rows, {size}, in {seconds:.1} s ({speed} rows/s).\n\
         Reading it needs {reader}: keep them in another place.\n"
    ));
}

impl BackupProgress for RowProgress {
    fn table(&mut self, name: &'static str, rows: u64) {
        self.begin(name, rows, 0);
    }

    fn read(&mut self, rows: u64) {
        self.add(rows);
    }

    fn finishing(&mut self) {
        self.last_step("writing the rest to the disk");
    }
}
