//! `STORE`: the format version and the random id of a store.

use super::VERSION;
use crate::bytes::Reader;

const MAGIC: [u8; 8] = *b"TMSTORE\0";
const BYTES: usize = 32;
const CRC_FROM: usize = 12;

/// The contents of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFile {
    /// The id that all headers of this store carry.
    pub store: u128,
}

/// Bytes that are no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Not one, or damaged.
    Broken,
    /// Of a version that is not known.
    Newer(u16),
}

impl StoreFile {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.store.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[8..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreFault> {
        let bytes = bytes.get(..BYTES).ok_or(StoreFault::Broken)?;
        let mut reader = Reader::new(bytes);
        let (magic, crc) = (reader.array(), reader.u32());
        if magic != Some(MAGIC) || crc != Some(crc32c::crc32c(&bytes[CRC_FROM..])) {
            return Err(StoreFault::Broken);
        }
        let version = reader.u16().ok_or(StoreFault::Broken)?;
        if version != VERSION {
            return Err(StoreFault::Newer(version));
        }
        reader.take(2).ok_or(StoreFault::Broken)?;
        Ok(Self { store: reader.u128().ok_or(StoreFault::Broken)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_found() {
        let file = StoreFile { store: 0x0123_4567_89ab_cdef_0123 };
        let bytes = file.encode();
        assert_eq!(StoreFile::decode(&bytes), Ok(file));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(StoreFile::decode(&bytes), Err(StoreFault::Broken), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = StoreFile { store: 1 }.encode();
        bytes[12] = 2;
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[8..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(StoreFile::decode(&bytes), Err(StoreFault::Newer(2)));
    }
}
