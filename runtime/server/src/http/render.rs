//! Events as JSON, one line each. What is neither JSON nor text is base64, and says so.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidemill_bus::block::header;
use tidemill_bus::{Batch, Event};

use crate::publish::is_json;

/// Appends event `index` of `batch` as one line:
///
/// `{"partition":0,"offset":5,"time":…,"appendTime":…,"key":…,"headers":{…},"value":…}`
///
/// Times are milliseconds since the Unix epoch. A key is text, or base64 with `"keyEncoding":"base64"`. A value
/// is JSON as it was published; else text with `"valueEncoding":"text"`, or base64 with
/// `"valueEncoding":"base64"`. A header that is no text is `{"base64":"…"}`.
pub(super) fn line(batch: &Batch, index: usize, event: Event<'_>, into: &mut Vec<u8>) {
    let (partition, offset) = (batch.source.partition, batch.offset(index));
    let (time, append_time) = (event.time, batch.append_time(index));
    write!(
        into,
        r#"{{"partition":{partition},"offset":{offset},"time":{time},"appendTime":{append_time},"key":"#
    )
    .expect("writing to memory does not fail");
    match event.key.map(|key| std::str::from_utf8(key).map_err(|_| key)) {
        None => into.extend_from_slice(b"null"),
        Some(Ok(text)) => string(text, into),
        Some(Err(bytes)) => {
            base64(bytes, into);
            into.extend_from_slice(br#","keyEncoding":"base64""#);
        }
    }
    into.extend_from_slice(br#","headers":"#);
    headers(event.headers, into);
    into.extend_from_slice(br#","value":"#);
    value(event.value, into);
    into.extend_from_slice(b"}\n");
}

fn value(value: Option<&[u8]>, into: &mut Vec<u8>) {
    match value.map(|value| std::str::from_utf8(value).map_err(|_| value)) {
        None => into.extend_from_slice(br#"null,"valueEncoding":"none""#),
        Some(Ok(text)) if is_json(text) => {
            let start = into.len();
            into.extend_from_slice(text.trim_ascii().as_bytes());
            one_line(&mut into[start..]);
        }
        Some(Ok(text)) => {
            string(text, into);
            into.extend_from_slice(br#","valueEncoding":"text""#);
        }
        Some(Err(bytes)) => {
            base64(bytes, into);
            into.extend_from_slice(br#","valueEncoding":"base64""#);
        }
    }
}

/// In JSON a raw line break is white space between tokens: a blank does as well.
fn one_line(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &json[from..]) {
        json[from + at] = b' ';
        from += at + 1;
    }
}

fn headers(headers: &[u8], into: &mut Vec<u8>) {
    into.push(b'{');
    for (index, (name, value)) in header::iter(headers).enumerate() {
        if index > 0 {
            into.push(b',');
        }
        string(name, into);
        into.push(b':');
        match value.map(|value| std::str::from_utf8(value).map_err(|_| value)) {
            None => into.extend_from_slice(b"null"),
            Some(Ok(text)) => string(text, into),
            Some(Err(bytes)) => {
                into.extend_from_slice(br#"{"base64":"#);
                base64(bytes, into);
                into.push(b'}');
            }
        }
    }
    into.push(b'}');
}

fn string(text: &str, into: &mut Vec<u8>) {
    serde_json::to_writer(into, text).expect("text is always JSON");
}

fn base64(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(BASE64.encode(bytes).as_bytes());
    into.push(b'"');
}

#[cfg(test)]
mod tests {
    use tidemill_bus::{Columns, Offset, Partition, TopicId, TopicPartition};

    use super::*;

    fn rendered(key: Option<&[u8]>, headers: &[u8], value: Option<&[u8]>) -> String {
        let mut columns = Columns::default();
        columns.push(Event { time: -5, key, headers, value });
        let source = TopicPartition { topic: TopicId(1), partition: Partition(3) };
        let mut batch = Batch::new(source);
        assert!(batch.extend_from(&columns, 0..1, 0..columns.data.len(), (Offset(9), 77)));
        let mut into = Vec::new();
        line(&batch, 0, columns.iter().next().unwrap(), &mut into);
        let text = String::from_utf8(into).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn json_stays_json_on_one_line() {
        assert_eq!(
            rendered(Some(b"a\"b"), b"", Some(b" {\"x\":\r\n1}\n")),
            "{\"partition\":3,\"offset\":9,\"time\":-5,\"appendTime\":77,\"key\":\"a\\\"b\",\"headers\":{},\"value\":{\"x\":  1}}\n"
        );
    }

    #[test]
    fn what_is_not_json_is_marked() {
        assert!(
            rendered(None, b"", Some(b"hello\n")).contains(r#""value":"hello\n","valueEncoding":"text""#)
        );
        assert!(
            rendered(None, b"", Some(b"\xff\x00")).contains(r#""value":"/wA=","valueEncoding":"base64""#)
        );
        assert!(rendered(Some(b"\xff"), b"", None).contains(r#""key":"/w==","keyEncoding":"base64""#));
        assert!(rendered(None, b"", None).contains(r#""value":null,"valueEncoding":"none""#));
        assert!(rendered(None, b"", Some(b"null")).ends_with("\"value\":null}\n"));
    }

    #[test]
    fn headers_are_an_object() {
        let mut headers = Vec::new();
        header::push(&mut headers, "a", Some(b"x")).unwrap();
        header::push(&mut headers, "b", None).unwrap();
        header::push(&mut headers, "c", Some(b"\xff")).unwrap();
        let text = rendered(None, &headers, Some(b"1"));
        assert!(text.contains(r#""headers":{"a":"x","b":null,"c":{"base64":"/w=="}}"#), "{text}");
    }
}
