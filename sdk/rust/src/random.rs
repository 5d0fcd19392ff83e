//! Random numbers by the place of an event: the same event gives the same numbers, however often it is tried and
//! whatever batch it comes in. Not for secrets.

/// Random numbers (`SplitMix64`, Steele et al., "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Where the numbers of a batch start from: the handler, the topic and the partition.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64);

/// The odd number nearest to 2^64 divided by the golden ratio: each step's distance.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Seed {
    pub(crate) fn new(handler: &str, topic: &str, partition: u32) -> Self {
        // FNV-1a; the parts cannot run into each other, for a zero byte is in neither name.
        let bytes = handler.bytes().chain([0]).chain(topic.bytes()).chain([0]).chain(partition.to_le_bytes());
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// The numbers of the event at `offset`.
    pub(crate) fn at(self, offset: u64) -> Random {
        Random(mix(self.0 ^ mix(offset.wrapping_add(GOLDEN))))
    }
}

impl Random {
    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `end`, all equally likely but for one part in 2^64 / `end`. 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a product has 64 bits")
    }

    /// A number from 0 to below 1, in steps of 2^-53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}
