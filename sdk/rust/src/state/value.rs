//! How state values are stored: numbers little-endian, text and bytes as they are, serde types as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Json;

/// What a [`Cell`](crate::Cell) can hold. The bytes outlive the handler's version: a type must read what its
/// older versions wrote. Wrap any serde type as [`Json`]`<T>`.
pub trait StateValue: Sized + 'static {
    /// Appends its bytes to `out`. The error is one of the whole batch.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads what [`Self::encode`] wrote. The error rejects the events that need the value.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

macro_rules! little_endian {
    ($($ty:ty),*) => {$(
        impl StateValue for $ty {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
                out.extend_from_slice(&self.to_le_bytes());
                Ok(())
            }

            fn decode(bytes: &[u8]) -> Result<Self, String> {
                let size = size_of::<$ty>();
                let wrong = |_| format!("expected {size} bytes, found {}", bytes.len());
                bytes.try_into().map(<$ty>::from_le_bytes).map_err(wrong)
            }
        }
    )*};
}

little_endian!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl StateValue for bool {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.push(u8::from(*self));
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err("expected one byte, 0 or 1".to_owned()),
        }
    }
}

impl StateValue for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(self);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Ok(bytes.to_owned())
    }
}

impl StateValue for String {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(self.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::from_utf8(bytes.to_owned()).map_err(|error| error.to_string())
    }
}

impl<T: Serialize + DeserializeOwned + 'static> StateValue for Json<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        sonic_rs::to_writer(out, &self.0).map_err(|error| error.to_string())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Json::decode(bytes).map(Json).map_err(|failure| failure.reason().to_owned())
    }
}
