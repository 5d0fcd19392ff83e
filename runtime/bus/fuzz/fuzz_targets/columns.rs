//! Any lengths and any data as columns, as a guest or a client may hand them in: refused, or events that can be
//! read to the last header, cut and joined.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bus::block::header;
use tidemill_bus::{Batch, Columns, Offset, Partition, TopicId, TopicPartition};

// The input: number of events, then per event the bytes of key, headers and value, each a signed byte, then data.
fuzz_target!(|bytes: &[u8]| {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let (lens, data) = rest.split_at((usize::from(count) * 3).min(rest.len()));
    let mut columns = Columns { data: data.to_vec(), ..Columns::default() };
    for lens in lens.chunks(3) {
        let len = |at: usize| lens.get(at).map_or(0, |&len| i32::from(len.cast_signed()));
        columns.times.push(i64::from(len(0)));
        columns.key_lens.push(len(0));
        columns.header_lens.push(len(1).cast_unsigned());
        columns.value_lens.push(len(2));
    }
    if columns.check().is_err() {
        return;
    }
    let mut headers = 0;
    for event in &columns {
        headers += header::iter(event.headers)
            .map(|(name, value)| 6 + name.len() + value.map_or(0, <[u8]>::len))
            .sum::<usize>();
    }
    assert_eq!(headers, columns.iter().map(|event| event.headers.len()).sum::<usize>());
    let source = TopicPartition { topic: TopicId(1), partition: Partition(0) };
    let mut batch = Batch::new(source);
    let (events, data) = (0..columns.len(), 0..columns.data.len());
    assert!(batch.extend_from(&columns, events, data, (Offset(7), 0)));
    assert_eq!(batch.columns, columns);
    let mut cut = Batch::new(source);
    batch.cut_into(0..columns.len() / 2, &mut cut);
    assert!(cut.columns.check().is_ok() && cut.columns.iter().eq(columns.iter().take(columns.len() / 2)));
});
