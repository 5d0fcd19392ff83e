//! `tidemill:handler/state`: reads of the driver's state, in columns. Writes go back with the output.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmList};

use crate::budget::Refused;
use crate::fault::ImportError;
use crate::instance::Guest;
use crate::limits::{SCAN_BYTES, SCAN_ENTRIES};

/// The interface, without its version.
pub(crate) const NAME: &str = "tidemill:handler/state";

/// `values`.
#[derive(Default, ComponentType, Lower)]
#[component(record)]
struct Values {
    #[component(name = "value-lens")]
    value_lens: Vec<i32>,
    data: Vec<u8>,
}

/// `page`.
#[derive(Default, ComponentType, Lower)]
#[component(record)]
struct Page {
    #[component(name = "key-lens")]
    key_lens: Vec<u32>,
    #[component(name = "value-lens")]
    value_lens: Vec<u32>,
    data: Vec<u8>,
    more: bool,
}

/// What `scan` takes: prefix, the key before the first, the number of entries.
type Scan = (Vec<u8>, Option<Vec<u8>>, u32);

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut state = linker.instance(&format!("{NAME}@0.1.0"))?;
    state.func_wrap("get-many", |cx: StoreContextMut<'_, Guest>, args: (WasmList<u32>, WasmList<u8>)| {
        Ok((get_many(&cx, &args.0, &args.1)?,))
    })?;
    state.func_wrap("scan", |cx: StoreContextMut<'_, Guest>, (prefix, after, limit): Scan| {
        Ok((scan(&cx, &prefix, after.as_deref(), limit)?,))
    })
}

/// Reads the keys where they lie in the guest's memory.
fn get_many(
    cx: &StoreContextMut<'_, Guest>,
    key_lens: &WasmList<u32>,
    keys: &WasmList<u8>,
) -> wasmtime::Result<Values> {
    let (lens, mut rest) = (key_lens.as_le_slice(cx), keys.as_le_slice(cx));
    let sum: u64 = lens.iter().map(|&len| u64::from(len)).sum();
    if sum != rest.len() as u64 {
        let what = format!("get-many: the key lengths add up to {sum} bytes, the keys have {}", rest.len());
        return Err(ImportError::Lie(what).into());
    }
    let mut keys = lens.iter().map(|&len| {
        let (key, after) = rest.split_at(len as usize);
        rest = after;
        key
    });
    let found = cx.data().state()?.get_many(&mut keys).map_err(ImportError::Host)?;
    if found.len() != lens.len() {
        let why = format!("{} state values came back for {} keys", found.len(), lens.len());
        return Err(ImportError::Host(why).into());
    }
    values(&found, cx.data().memory_limit())
}

/// The values in columns; more than the guest could hold are refused as its own request would be.
fn values(found: &[Option<Vec<u8>>], limit: usize) -> wasmtime::Result<Values> {
    let asked: usize = found.iter().flatten().map(Vec::len).sum();
    if asked > limit {
        return Err(Refused { asked, limit }.into());
    }
    let mut values = Values { value_lens: Vec::with_capacity(found.len()), data: Vec::with_capacity(asked) };
    for value in found {
        let len = value.as_ref().map_or(-1, |value| {
            i32::try_from(value.len()).expect("a guest's memory, which the sum fits in, is at most 2 GiB")
        });
        values.value_lens.push(len);
        values.data.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    Ok(values)
}

fn scan(
    cx: &StoreContextMut<'_, Guest>,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u32,
) -> wasmtime::Result<Page> {
    let limit = limit.min(SCAN_ENTRIES) as usize;
    let mut entries = cx.data().state()?.scan(prefix, after, limit + 1).map_err(ImportError::Host)?;
    let mut page = Page { more: entries.len() > limit, ..Page::default() };
    entries.truncate(limit);
    for (key, value) in entries {
        if !page.data.is_empty() && page.data.len() + key.len() + value.len() > SCAN_BYTES {
            page.more = true;
            break;
        }
        let len =
            |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values are bounded far below 4 GiB");
        page.key_lens.push(len(&key));
        page.value_lens.push(len(&value));
        page.data.extend_from_slice(&key);
        page.data.extend_from_slice(&value);
    }
    Ok(page)
}
