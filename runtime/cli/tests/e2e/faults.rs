//! What a machine does to a runtime: kills, taken ports and directories, disks that refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use reqwest::StatusCode;

use crate::mill::{BINARY, Mill, run_command, stderr, stdout};

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let mut mill = Mill::start();
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            let value = round * 20 + number;
            let (status, runs) = mill.publish("t", &value.to_string());
            assert_eq!(status, StatusCode::OK, "{runs}");
            expected.push(i64::from(value));
        }
        mill = mill.kill_and_restart();
        let mut values: Vec<_> =
            mill.read("t", "").iter().map(|event| event["value"].as_i64().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, expected);
    }
}

#[test]
fn a_stop_is_clean_and_keeps_everything() {
    let mill = Mill::start();
    mill.publish("t", "1\n2");
    let (clean, dir) = mill.stop();
    assert!(clean);
    assert_eq!(Mill::start_in(dir, &[]).read("t", "").len(), 2);
}

#[test]
fn a_port_in_use_is_named() {
    let mill = Mill::start();
    let dir = tempfile::tempdir().unwrap();
    let address = mill.url().strip_prefix("http://").unwrap();
    let mut command = Command::new(BINARY);
    let done = command.current_dir(dir.path()).args(["run", "--listen", address]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let error = stderr(&done);
    assert!(error.contains(address) && error.contains("--listen"), "{error}");
}

#[test]
fn a_data_directory_in_use_is_named_with_its_holder() {
    let mill = Mill::start();
    let done = run_command(mill.dir()).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let error = stderr(&done);
    assert!(error.contains(&format!("data is in use by process {}", mill.pid())), "{error}");
    assert_eq!(mill.publish("t", "1").0, StatusCode::OK);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // A file in its place refuses everybody, root included; permissions do not.
    fs::write(dir.path().join("data"), "").unwrap();
    fs::set_permissions(dir.path().join("data"), fs::Permissions::from_mode(0o400)).unwrap();
    let done = run_command(dir.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("data"), "{}", stderr(&done));
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` where mounting is not permitted.
    fn mount(path: &std::path::Path, options: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).status().ok()?;
        status.success().then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a killed process may still hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_read_only_data_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(&dir.path().join("data"), "ro,size=1m") else {
        eprintln!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let done = run_command(dir.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let error = stderr(&done);
    assert!(error.contains("data") && error.to_lowercase().contains("read-only"), "{error}");
}

#[test]
fn a_full_disk_refuses_what_comes_and_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(&dir.path().join("data"), "size=24m") else {
        eprintln!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    fs::write(dir.path().join("tidemill.toml"), "[store]\nsegment = \"1MiB\"\n").unwrap();
    let mill = Mill::start_in(dir, &[]);
    let body = format!("\"{}\"", "x".repeat(256 << 10));
    let mut acknowledged = 0;
    let (status, problem) = loop {
        match mill.publish("t", &body) {
            (StatusCode::OK, _) => acknowledged += 1,
            refused => break refused,
        }
    };
    let kind = problem["type"].as_str().unwrap();
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert_eq!(kind, "urn:tidemill:problem:disk-full");
    assert!(acknowledged > 0);
    assert_eq!(mill.read("t", "").len(), acknowledged);
}

#[test]
fn a_broken_store_is_found_offline_and_named() {
    let mill = Mill::start();
    let check = |dir: &std::path::Path| {
        Command::new(BINARY).arg("check").arg("--data").arg(dir.join("data")).output().unwrap()
    };
    mill.publish("precious", "\"something to find\"\n");
    let busy = check(mill.dir());
    assert!(stderr(&busy).contains(&mill.pid().to_string()), "{}", stderr(&busy));
    let (_, dir) = mill.stop();
    let sound = check(dir.path());
    assert!(sound.status.success(), "{}{}", stdout(&sound), stderr(&sound));

    let segment = dir.path().join("data/journal/00000000000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(17).position(|window| window == b"something to find").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let broken = check(dir.path());
    assert_eq!(broken.status.code(), Some(5));
    assert!(stdout(&broken).contains("precious partition "), "{}", stdout(&broken));
    let empty = check(&dir.path().join("elsewhere"));
    assert_eq!(empty.status.code(), Some(1));
}
