//! A support bundle: one archive with what helps to find a cause, and no secret.

mod hiding;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use portcullis_model::{SecretString, Timestamp};
use serde::Serialize;
use tar::{Builder, Header};

pub use hiding::HIDDEN;
use hiding::Hider;

/// The mode of the files in the archive: they are for their owner.
const MODE: u32 = 0o600;

/// The files of a bundle. Each passes through the hider when it is added.
pub struct Bundle {
    made_at: Timestamp,
    hider: Hider,
    files: Vec<File>,
    missing: Vec<Missing>,
}

struct File {
    name: &'static str,
    about: &'static str,
    text: String,
}

/// What the bundle could not get.
#[derive(Serialize)]
struct Missing {
    name: &'static str,
    why: String,
}

impl Bundle {
    /// Begins a bundle from which these secrets are taken out, wherever they turn up.
    pub fn new(made_at: Timestamp, secrets: &[SecretString]) -> Self {
        Self { made_at, hider: Hider::new(secrets), files: Vec::new(), missing: Vec::new() }
    }

    /// Adds a file.
    pub fn add(&mut self, name: &'static str, about: &'static str, text: &str) {
        self.files.push(File { name, about, text: self.hider.hide(text) });
    }

    /// Adds a file of JSON.
    pub fn add_json(&mut self, name: &'static str, about: &'static str, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.add(name, about, &format!("{text}\n")),
            Err(error) => self.lacks(name, error.to_string()),
        }
    }

    /// Notes in the manifest why a file is not there.
    pub fn lacks(&mut self, name: &'static str, why: impl AsRef<str>) {
        self.missing.push(Missing { name, why: self.hider.hide(why.as_ref()) });
    }

    /// The name of the folder in the archive, which is also a good name for the archive.
    pub fn name(&self) -> String {
        format!("portcullis-support-{}", self.made_at.format("%Y%m%dT%H%M%SZ"))
    }

    /// Writes the archive: a tar file, compressed by gzip, with the manifest first.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, to: impl Write) -> io::Result<()> {
        let mut archive = Builder::new(GzEncoder::new(to, Compression::default()));
        let manifest = ("manifest.json", self.manifest());
        let files = self.files.iter().map(|file| (file.name, file.text.clone()));
        for (name, text) in std::iter::once(manifest).chain(files) {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(MODE);
            header.set_mtime(u64::try_from(self.made_at.timestamp()).unwrap_or(0));
            archive.append_data(&mut header, format!("{}/{name}", self.name()), text.as_bytes())?;
        }
        archive.into_inner()?.finish()?.flush()
    }

    /// Returns all files as text, one after the other.
    pub fn show(&self) -> String {
        let mut text = format!("==== manifest.json\n{}", self.manifest());
        for file in &self.files {
            text.push_str(&format!("\n==== {}\n{}", file.name, file.text));
        }
        text
    }

    fn manifest(&self) -> String {
        #[derive(Serialize)]
        struct Entry<'a> {
            name: &'a str,
            about: &'a str,
            bytes: usize,
        }
        let entry = |file: &File| Entry { name: file.name, about: file.about, bytes: file.text.len() };
        let manifest = serde_json::json!({
            "madeAt": self.made_at.to_rfc3339(),
            "files": self.files.iter().map(entry).map(serde_json::to_value).filter_map(Result::ok).collect::<Vec<_>>(),
            "missing": self.missing,
        });
        format!("{manifest:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn bundle() -> Bundle {
        let at = Timestamp::from_timestamp(1_795_000_000, 0).expect("a time");
        let mut bundle = Bundle::new(at, &[SecretString::new("hunter2-hunter2")]);
        bundle.add("errors.json", "the last errors", "refused hunter2-hunter2 twice");
        bundle.lacks("metrics.txt", "no gateway runs, said hunter2-hunter2");
        bundle
    }

    #[test]
    fn the_archive_has_a_manifest_and_the_files() {
        let mut archive = Vec::new();
        bundle().write(&mut archive).expect("memory takes it");
        let mut archive = tar::Archive::new(GzDecoder::new(archive.as_slice()));
        let files: Vec<(String, String)> = archive
            .entries()
            .expect("a tar file")
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let name = entry.path().expect("a path").display().to_string();
                assert_eq!(entry.header().mode().expect("a mode"), MODE);
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("text");
                (name, text)
            })
            .collect();
        assert!(
            files[0].0.starts_with("portcullis-support-2026") && files[0].0.ends_with("/manifest.json"),
            "{files:?}"
        );
        assert_eq!(files[1].1, "refused [hidden] twice");
        let manifest: serde_json::Value = serde_json::from_str(&files[0].1).expect("JSON");
        assert_eq!(
            (&manifest["files"][0]["bytes"], &manifest["missing"][0]["name"]),
            (&22.into(), &"metrics.txt".into())
        );
        assert_eq!(manifest["missing"][0]["why"], "no gateway runs, said [hidden]");
    }

    #[test]
    fn it_can_be_shown_as_text() {
        let text = bundle().show();
        assert!(text.contains("==== errors.json\nrefused [hidden] twice"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
