//! The header of a frame: what it is, what it follows, and where its sections lie.

use super::VERSION;
use crate::bytes::{Reader, align};
use crate::limits::FRAME_BYTES_MAX;
use crate::{DriverKey, FrameNumber, HandlerId, Lane, Partition};

/// Bytes of the part of a header that every frame has.
pub const FIXED_BYTES: usize = 80;
/// Bytes of each section's entry.
pub const SECTION_BYTES: usize = 32;
/// What a frame begins with.
pub const MAGIC: [u8; 8] = *b"TMFRAME\0";
const CRC_FROM: usize = 12;
const FLAG_REQUIRED: u16 = 1;

/// Kinds of sections.
pub mod kind {
    /// Event blocks.
    pub const BLOCKS: u16 = 1;
    /// A change of tables.
    pub const DELTA: u16 = 2;
    /// Nothing: the store was closed after this frame's predecessor.
    pub const CLOSING: u16 = 3;
}

/// What stands before a frame's sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// The store that it belongs to.
    pub store: u128,
    /// A random number of the opening that wrote it: no header of another life is ever the same.
    pub life: u64,
    /// Its number.
    pub number: FrameNumber,
    /// All frames up to this one were synced when it was written.
    pub synced_through: FrameNumber,
    /// CRC of the header before it; 0 if there was none.
    pub previous_crc: u32,
    /// Its sections, in order.
    pub sections: Vec<SectionHeader>,
}

/// A section's entry in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionHeader {
    /// What it holds: see [`kind`].
    pub kind: u16,
    /// Whether a reader that does not know the kind must refuse the store.
    pub required: bool,
    /// CRC32C of its bytes; of event blocks, of their headers one after the other.
    pub crc: u32,
    /// Whose it is.
    pub owner: DriverKey,
    /// Its bytes, without the padding that follows.
    pub byte_len: u64,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// Not one, or damaged.
    Broken,
    /// Perhaps one: this many bytes would tell.
    Short(usize),
    /// Of a version that is not known.
    Newer(u16),
}

impl FrameHeader {
    /// Bytes of a header with this many sections, with the padding that follows.
    pub fn padded_len(sections: usize) -> u64 {
        align((FIXED_BYTES + sections * SECTION_BYTES) as u64, 8)
    }

    /// Bytes of the frame, up to the end of its last section's padding.
    pub fn frame_len(&self) -> u64 {
        let sections = self.sections.iter().map(|section| align(section.byte_len, 8)).sum::<u64>();
        Self::padded_len(self.sections.len()) + sections
    }

    /// The header's bytes, and their CRC, which the next header repeats.
    pub fn encode(&self, into: &mut Vec<u8>) -> u32 {
        let start = into.len();
        let bounded = |len: usize| u32::try_from(len).expect("frames are bounded far below 4 GiB");
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&[0; 2]);
        into.extend_from_slice(&bounded(FIXED_BYTES + self.sections.len() * SECTION_BYTES).to_le_bytes());
        into.extend_from_slice(&bounded(self.sections.len()).to_le_bytes());
        into.extend_from_slice(&self.store.to_le_bytes());
        into.extend_from_slice(&self.life.to_le_bytes());
        into.extend_from_slice(&self.number.0.to_le_bytes());
        into.extend_from_slice(&self.synced_through.0.to_le_bytes());
        into.extend_from_slice(&self.frame_len().to_le_bytes());
        into.extend_from_slice(&self.previous_crc.to_le_bytes());
        into.extend_from_slice(&[0; 4]);
        for section in &self.sections {
            let flags = if section.required { FLAG_REQUIRED } else { 0 };
            into.extend_from_slice(&section.kind.to_le_bytes());
            into.extend_from_slice(&flags.to_le_bytes());
            into.extend_from_slice(&section.crc.to_le_bytes());
            into.extend_from_slice(&section.owner.handler.0.to_le_bytes());
            into.extend_from_slice(&section.owner.partition.0.to_le_bytes());
            into.extend_from_slice(&section.owner.lane.0.to_le_bytes());
            into.extend_from_slice(&section.byte_len.to_le_bytes());
        }
        let crc = crc32c::crc32c(&into[start + CRC_FROM..]);
        into[start + 8..start + CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header from the front of `bytes`, with its CRC.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), FrameFault> {
        let mut reader = Reader::new(bytes.get(..FIXED_BYTES).ok_or(FrameFault::Short(FIXED_BYTES))?);
        if reader.array() != Some(MAGIC) {
            return Err(FrameFault::Broken);
        }
        let (crc, version) = reader.u32().zip(reader.u16()).ok_or(FrameFault::Broken)?;
        let header_len = reader.take(2).and_then(|_| reader.u32()).ok_or(FrameFault::Broken)?;
        let header_len = usize::try_from(header_len).map_err(|_| FrameFault::Broken)?;
        if header_len < FIXED_BYTES || header_len as u64 > FRAME_BYTES_MAX {
            return Err(FrameFault::Broken);
        }
        let header = bytes.get(..header_len).ok_or(FrameFault::Short(header_len))?;
        if crc32c::crc32c(&header[CRC_FROM..]) != crc {
            return Err(FrameFault::Broken);
        }
        if version != VERSION {
            return Err(FrameFault::Newer(version));
        }
        let header = Self::decode_fields(&mut reader, header).ok_or(FrameFault::Broken)?;
        Ok((header, crc))
    }

    /// The number that the bytes of a damaged header give, if they are those of a frame of this store.
    pub fn number_in_damaged(bytes: &[u8], store: u128) -> Option<FrameNumber> {
        let mut reader = Reader::new(bytes);
        if reader.array() != Some(MAGIC) {
            return None;
        }
        reader.take(16)?;
        if reader.u128()? != store {
            return None;
        }
        reader.take(8)?;
        reader.u64().map(FrameNumber)
    }

    fn decode_fields(reader: &mut Reader<'_>, bytes: &[u8]) -> Option<Self> {
        let count = usize::try_from(reader.u32()?).ok()?;
        if bytes.len() != count.checked_mul(SECTION_BYTES)?.checked_add(FIXED_BYTES)? {
            return None;
        }
        let (store, life) = (reader.u128()?, reader.u64()?);
        let (number, synced_through) = (FrameNumber(reader.u64()?), FrameNumber(reader.u64()?));
        let (frame_len, previous_crc) = (reader.u64()?, reader.u32()?);
        let mut rest = Reader::new(bytes.get(FIXED_BYTES..)?);
        let mut sections = Vec::with_capacity(count);
        let mut sum = Self::padded_len(count);
        for _ in 0..count {
            let section = SectionHeader::decode(&mut rest)?;
            sum = sum.checked_add(align(section.byte_len, 8))?;
            sections.push(section);
        }
        let sound = sum == frame_len && sum <= FRAME_BYTES_MAX && synced_through < number;
        sound.then_some(Self { store, life, number, synced_through, previous_crc, sections })
    }
}

impl SectionHeader {
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (kind, flags) = (reader.u16()?, reader.u16()?);
        let (crc, handler) = (reader.u32()?, HandlerId(reader.u64()?));
        let (partition, lane) = (Partition(reader.u32()?), Lane(reader.u32()?));
        let (owner, byte_len) = (DriverKey { handler, partition, lane }, reader.u64()?);
        let bounded = byte_len <= FRAME_BYTES_MAX;
        bounded.then_some(Self { kind, required: flags & FLAG_REQUIRED != 0, crc, owner, byte_len })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = FrameHeader> {
        let section = (any::<u16>(), any::<bool>(), any::<u32>(), any::<(u64, u32, u32)>(), 0..1000_u64);
        let sections = proptest::collection::vec(section, 0..6).prop_map(|sections| {
            let header = |(kind, required, crc, (handler, partition, lane), byte_len)| {
                let (handler, partition, lane) = (HandlerId(handler), Partition(partition), Lane(lane));
                let owner = DriverKey { handler, partition, lane };
                SectionHeader { kind, required, crc, owner, byte_len }
            };
            sections.into_iter().map(header).collect::<Vec<_>>()
        });
        (any::<u128>(), any::<u64>(), 1..u64::MAX, any::<u32>(), sections).prop_map(
            |(store, life, number, previous_crc, sections)| FrameHeader {
                store,
                life,
                number: FrameNumber(number),
                synced_through: FrameNumber(number / 2),
                previous_crc,
                sections,
            },
        )
    }

    proptest! {
        #[test]
        fn a_header_comes_back_as_it_was_written(header in headers()) {
            let mut bytes = Vec::new();
            let crc = header.encode(&mut bytes);
            prop_assert_eq!(FrameHeader::number_in_damaged(&bytes, header.store), Some(header.number));
            prop_assert_eq!(FrameHeader::decode(&bytes), Ok((header, crc)));
        }

        #[test]
        fn a_flipped_bit_is_found(header in headers(), bit in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FrameHeader::decode(&bytes).is_err());
        }

        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(FrameHeader::decode(&bytes).is_err());
        }
    }
}
