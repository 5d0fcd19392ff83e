//! Bodies of blocks that are stored compressed, with LZ4. The bytes are described in `FORMAT.md`; what is compressed is
//! a body as it would be stored otherwise.

use std::io::IoSlice;

use super::BrokenBlock;
use crate::limits::{BLOCK_BYTES_MAX, COMPRESSED_BYTES_MIN};

/// Bytes before the compressed ones: how many they become.
const PREFIX_BYTES: usize = 4;
/// LZ4 makes at most so many bytes of one: a longer length is a lie.
const EXPANSION_MAX: usize = 255;

/// The body of a block as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressed {
    bytes: Vec<u8>,
    crc: u32,
}

impl Compressed {
    /// The body made of `parts`, unless that is not worth it: it is small, or becomes less than an eighth smaller.
    pub fn of(parts: &[IoSlice<'_>]) -> Option<Self> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if len < COMPRESSED_BYTES_MIN {
            return None;
        }
        let mut body = Vec::with_capacity(len);
        for part in parts {
            body.extend_from_slice(part);
        }
        let mut bytes = vec![0; PREFIX_BYTES + lz4_flex::block::get_maximum_output_size(len)];
        let prefix = u32::try_from(len).expect("blocks are bounded far below 4 GiB").to_le_bytes();
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
        let written = lz4_flex::block::compress_into(&body, &mut bytes[PREFIX_BYTES..]);
        bytes.truncate(PREFIX_BYTES + written.expect("there is room for what cannot be compressed"));
        if bytes.len() > len - len / 8 {
            return None;
        }
        bytes.shrink_to_fit();
        let crc = crc32c::crc32c(&bytes);
        Some(Self { bytes, crc })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their CRC32C.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The bytes, without their checksum.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The body that was compressed. No more is allocated than a block may have, and than these bytes can become.
pub(super) fn decompress(stored: &[u8]) -> Result<Vec<u8>, BrokenBlock> {
    let short = BrokenBlock::Compressed("too few bytes");
    let (prefix, bytes) = stored.split_first_chunk::<PREFIX_BYTES>().ok_or(short)?;
    let len = u32::from_le_bytes(*prefix) as usize;
    if len as u64 > BLOCK_BYTES_MAX || len / EXPANSION_MAX > bytes.len() {
        return Err(BrokenBlock::Compressed("an impossible size"));
    }
    let mut body = vec![0; len];
    match lz4_flex::block::decompress_into(bytes, &mut body) {
        Ok(written) if written == len => Ok(body),
        Ok(_) => Err(BrokenBlock::Compressed("another size than it says")),
        Err(_) => Err(BrokenBlock::Compressed("bytes that are not LZ4")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_comes_back_or_is_not_worth_it(
            words in proptest::collection::vec(0..4_u16, 0..2_000),
            split in any::<prop::sample::Index>(),
        ) {
            let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let (one, other) = body.split_at(split.index(body.len() + 1));
            if let Some(compressed) = Compressed::of(&[IoSlice::new(one), IoSlice::new(other)]) {
                prop_assert!(compressed.bytes().len() <= body.len() - body.len() / 8);
                prop_assert_eq!(decompress(compressed.bytes()), Ok(body));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_become_what_they_say(stored in proptest::collection::vec(any::<u8>(), 0..90)) {
            if let Ok(body) = decompress(&stored) {
                prop_assert_eq!(&stored[..4], u32::try_from(body.len()).unwrap().to_le_bytes());
            }
        }
    }

    #[test]
    fn what_is_small_or_does_not_become_smaller_stays_as_it_is() {
        let seven = |len| Compressed::of(&[IoSlice::new(&vec![7; len])]);
        assert!(seven(COMPRESSED_BYTES_MIN - 1).is_none() && seven(COMPRESSED_BYTES_MIN).is_some());
        let mut random = crate::testing::Random::new(1);
        let noise: Vec<u8> = (0..4_096).flat_map(|_| random.draw().to_le_bytes()).collect();
        assert_eq!(Compressed::of(&[IoSlice::new(&noise)]), None);
        assert!(seven(32_768).is_some_and(|seven| seven.bytes().len() < 200));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_memory_is_taken_for_it() {
        let sound = Compressed::of(&[IoSlice::new(&[7; 10_000])]).unwrap().into_bytes();
        let with = |len: u32| decompress(&[&len.to_le_bytes()[..], &sound[4..]].concat());
        assert_eq!(with(10_000), Ok(vec![7; 10_000]));
        for len in [u32::MAX, u32::try_from(BLOCK_BYTES_MAX).unwrap() + 1, 60 << 20] {
            assert_eq!(with(len), Err(BrokenBlock::Compressed("an impossible size")), "{len}");
        }
        assert_eq!(with(10_001), Err(BrokenBlock::Compressed("another size than it says")));
        assert_eq!(with(9_999), Err(BrokenBlock::Compressed("bytes that are not LZ4")));
        assert_eq!(decompress(&sound[..3]), Err(BrokenBlock::Compressed("too few bytes")));
    }
}
