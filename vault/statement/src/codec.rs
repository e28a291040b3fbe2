//! The canonical encoding of every format: big-endian integers, length-prefixed bytes, nothing optional, nothing left over.

use alloc::string::String;
use alloc::vec::Vec;

use torus_sharing::{Index, Point};

/// The bytes are not the one encoding of a valid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The value ends before its encoding is complete.
    #[error("the bytes end too early")]
    Short,
    /// Bytes are left over after the value.
    #[error("bytes are left over")]
    Trailing,
    /// A length or count is above its bound.
    #[error("a length is above its bound")]
    TooLong,
    /// A version that this build does not know.
    #[error("unknown version")]
    Version,
    /// A field holds a value that its type cannot hold.
    #[error("a field is invalid: {0}")]
    Field(&'static str),
}

/// A value with exactly one encoding.
pub trait Wire: Sized {
    /// Appends the encoding.
    fn write(&self, w: &mut Writer);

    /// Reads one value; what follows it stays in the reader.
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The whole encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Parses bytes that hold this value and nothing else.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

/// Reads fields from bounded bytes; every length is checked before anything is allocated.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `len` bytes.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next N bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice(N)?.try_into().map_err(|_| Malformed::Short)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A big-endian u16.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian u32.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian u64.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A big-endian u128.
    pub fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_be_bytes)
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Field("bool")),
        }
    }

    /// Bytes behind a u32 length of at most `max`.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        if len > max {
            return Err(Malformed::TooLong);
        }
        self.slice(len)
    }

    /// UTF-8 behind a u32 length of at most `max` bytes.
    pub fn string(&mut self, max: usize) -> Result<String, Malformed> {
        let bytes = self.bytes(max)?;
        core::str::from_utf8(bytes).map(String::from).map_err(|_| Malformed::Field("utf-8"))
    }

    /// A member index; zero is refused, the committee's bound is the caller's to check.
    pub fn index(&mut self) -> Result<Index, Malformed> {
        Index::new(self.u8()?).ok_or(Malformed::Field("index"))
    }

    /// A compressed point.
    pub fn point(&mut self) -> Result<Point, Malformed> {
        Point::from_compressed(&self.array()?).map_err(|_| Malformed::Field("point"))
    }

    /// A value or its absence, behind a byte that is 1 or 0.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// Up to `max` values behind a u32 count.
    pub fn list<T>(
        &mut self,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > max {
            return Err(Malformed::TooLong);
        }
        // Grows as values arrive: a count alone reserves nothing.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Bytes that are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Refuses left-over bytes.
    pub const fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

/// Appends fields in the canonical encoding.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Raw bytes, without a length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// A big-endian u16.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// A big-endian u32.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// A big-endian u64.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// A big-endian u128.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// 1 for true, 0 for false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(value.into())
    }

    /// Bytes behind their u32 length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // No format comes near 4 GiB: the bounds are at most a few MiB.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// Text behind its u32 length in bytes.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A member index.
    pub fn index(&mut self, index: Index) -> &mut Self {
        self.u8(index.get())
    }

    /// A compressed point.
    pub fn point(&mut self, point: &Point) -> &mut Self {
        self.raw(&point.to_compressed())
    }

    /// A value or its absence.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) -> &mut Self {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// Values behind their u32 count.
    pub fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        for value in values {
            write(self, value);
        }
        self
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Wire for [u8; 32] {
    fn write(&self, w: &mut Writer) {
        w.raw(self);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.array()
    }
}
