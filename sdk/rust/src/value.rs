//! What can be the value of an emitted event.

use crate::{Event, Failure};

/// What can be the value of an emitted event: bytes, text, [`Json`](crate::Json), another event's value, or
/// `None` for a tombstone.
pub trait EventValue {
    /// Whether it is null: a tombstone.
    fn is_null(&self) -> bool {
        false
    }

    /// Appends its bytes to `out`. On an error the caller cuts off what was appended.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure>;
}

impl EventValue for [u8] {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.extend_from_slice(self);
        Ok(())
    }
}

impl EventValue for str {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.as_bytes().write(out)
    }
}

impl EventValue for String {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.as_bytes().write(out)
    }
}

impl EventValue for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.as_slice().write(out)
    }
}

impl<const N: usize> EventValue for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.as_slice().write(out)
    }
}

impl<T: EventValue + ?Sized> EventValue for &T {
    fn is_null(&self) -> bool {
        (**self).is_null()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        (**self).write(out)
    }
}

impl<T: EventValue> EventValue for Option<T> {
    fn is_null(&self) -> bool {
        self.as_ref().is_none_or(EventValue::is_null)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.as_ref().map_or(Ok(()), |value| value.write(out))
    }
}

/// The event's value alone; [`Context::forward`](crate::Context::forward) takes its headers along.
impl EventValue for Event<'_> {
    fn is_null(&self) -> bool {
        self.value().is_none()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.value().write(out)
    }
}
