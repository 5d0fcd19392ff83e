//! A frame's header of which one byte broke, put right. The checksum that it should have is told by a neighbour, the
//! header after it; with that, the place of a single broken byte follows from the checksum itself.

use crate::journal::format::{FIXED_BYTES, FRAME_MAGIC, FrameHeader, SECTION_BYTES};

/// What a header's checksum covers begins here; before it are the magic number and the checksum.
const CRC_FROM: usize = 12;
/// The polynomial of CRC-32C (Castagnoli), its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The header at the front of `bytes` as it was written, if one byte of it broke at most, or any of its magic number
/// and its checksum; `crc` is that checksum.
pub(super) fn mend(bytes: &[u8], crc: u32) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let number = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    // Its length stands there twice, and one of them is right.
    let told = number(16);
    let counted = number(20).and_then(|count| count.checked_mul(SECTION_BYTES)?.checked_add(FIXED_BYTES));
    [told, counted].into_iter().flatten().find_map(|len| mend_len(bytes.get(..len)?, crc))
}

fn mend_len(header: &[u8], crc: u32) -> Option<Vec<u8>> {
    if header.len() < FIXED_BYTES {
        return None;
    }
    let mut mended = header.to_vec();
    mended[..8].copy_from_slice(&FRAME_MAGIC);
    mended[8..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
    let difference = crc32c::crc32c(&mended[CRC_FROM..]) ^ crc;
    if difference != 0 {
        let (at, error) = locate(difference, header.len() - CRC_FROM)?;
        mended[CRC_FROM + at] ^= error;
    }
    let decoded = FrameHeader::decode(&mended);
    decoded.is_ok_and(|(_, found)| found == crc).then_some(mended)
}

/// The byte of `len` bytes, and its error, that makes the checksum differ so. A checksum is linear: what an error does
/// to it depends on its place and nothing else.
fn locate(difference: u32, len: usize) -> Option<(usize, u8)> {
    // What each bit of a byte does to the checksum, the last byte first.
    let mut bits: [u32; 8] = std::array::from_fn(|bit| after_zero(1 << bit));
    for at in (0..len).rev() {
        let mut sum = 0;
        // All errors of a byte in the order of the Gray code, in which one bit changes each time.
        for index in 1..=255_u8 {
            sum ^= bits[index.trailing_zeros() as usize];
            if sum == difference {
                return Some((at, index ^ (index >> 1)));
            }
        }
        bits = bits.map(after_zero);
    }
    None
}

/// The register of the checksum after one more byte that is zero.
fn after_zero(register: u32) -> u32 {
    (0..8).fold(register, |register, _| (register >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(register & 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::format::{SectionHeader, kind};
    use crate::{DriverKey, FrameNumber};

    fn header(sections: usize) -> (Vec<u8>, u32) {
        let section =
            SectionHeader { kind: kind::DELTA, required: true, crc: 77, owner: DriverKey::NONE, byte_len: 9 };
        let header = FrameHeader {
            store: 1 << 100,
            life: 3,
            number: FrameNumber(12),
            synced_through: FrameNumber(11),
            previous_crc: 5,
            sections: vec![section; sections],
        };
        let mut bytes = Vec::new();
        let crc = header.encode(&mut bytes);
        (bytes, crc)
    }

    #[test]
    fn every_byte_broken_in_any_way_is_put_right() {
        for sections in [1, 5] {
            let (bytes, crc) = header(sections);
            for at in 0..bytes.len() {
                for error in 1..=255 {
                    let mut broken = [&bytes[..], &[0xaa; 300]].concat();
                    broken[at] ^= error;
                    assert_eq!(mend(&broken, crc).as_ref(), Some(&bytes), "byte {at} error {error}");
                }
            }
        }
    }

    #[test]
    fn two_broken_bytes_and_other_bytes_are_left_alone() {
        let (bytes, crc) = header(2);
        for (one, two) in [(16, 20), (30, 31), (12, 100), (40, 143)] {
            let mut broken = bytes.clone();
            broken[one] ^= 0x11;
            broken[two] ^= 0x80;
            assert_eq!(mend(&broken, crc), None, "{one} {two}");
        }
        for len in [0, 11, 79, 80, 4096] {
            assert_eq!(mend(&vec![0; len], crc), None);
        }
    }
}
