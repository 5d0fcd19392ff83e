//! What the disk allows: records appended to a zero-filled file in groups of 1 MiB, each with a checksum and a
//! sync, and nothing else. No runtime can be faster than this and keep its word.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::events::RECORD_BYTES;

const GROUP_BYTES: usize = 1 << 20;
const GROUPS: u64 = 256;

/// Records per second. Waits for the disk.
pub(super) fn records_per_second(scratch: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(scratch)
        .with_context(|| format!("creating a file in {} to measure the disk with", scratch.display()))?;
    let mut group = vec![0; GROUP_BYTES];
    for _ in 0..GROUPS {
        file.write_all(&group).context("filling the file to measure the disk with")?;
    }
    file.sync_all().context("syncing the file to measure the disk with")?;
    let started = Instant::now();
    for index in 0..GROUPS {
        write_group(&file, &mut group, index).context("measuring the disk")?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people: 53 bits are plenty")]
    let records = (GROUPS * GROUP_BYTES as u64) as f64 / RECORD_BYTES as f64;
    Ok(records / started.elapsed().as_secs_f64())
}

fn write_group(file: &File, group: &mut [u8], index: u64) -> std::io::Result<()> {
    for (record, byte) in group.chunks_mut(RECORD_BYTES).zip((0..=255_u8).cycle()) {
        record.fill(byte);
    }
    let crc = crc32c::crc32c(&group[4..]);
    group[..4].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(group, index * GROUP_BYTES as u64)?;
    file.sync_data()
}
