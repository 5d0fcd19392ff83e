//! Journals written by every released version of the format are read for ever.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_bus::disk::Disk;
use tidemill_bus::testing::FakeDisk;

use crate::flips::{closed_journal, small};
use crate::model::{Frame, check, open};

fn directory(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join("journal")
}

#[test]
fn a_journal_of_version_1_is_read() {
    let fake = FakeDisk::new(1);
    for entry in std::fs::read_dir(directory("v1")).unwrap() {
        let entry = entry.unwrap();
        fake.put(entry.file_name().to_str().unwrap(), &std::fs::read(entry.path()).unwrap());
    }
    let (_, mut frames) = closed_journal();
    frames.push(Frame::default());
    let disk: Arc<dyn Disk> = Arc::new(fake);
    let (journal, recovery, replayed) = open(&disk, small(), 0).unwrap();
    assert!(recovery.clean && !recovery.created && recovery.cut.is_none());
    assert_eq!(recovery.last.0, 7);
    check(&journal, &recovery, &replayed, &frames, 0);
}

/// Run it with `cargo test -p tidemill-bus --test journal -- --ignored write_the_fixture` after a change of
/// format, with the new version's directory here and its own test above; never for a version that is released.
#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture() {
    let directory = directory("v1");
    std::fs::create_dir_all(&directory).unwrap();
    let (disk, _) = closed_journal();
    for (name, _) in disk.list().unwrap() {
        std::fs::write(directory.join(&name), disk.bytes(&name).unwrap()).unwrap();
    }
}
