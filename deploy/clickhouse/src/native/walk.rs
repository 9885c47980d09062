//! Steps over the data of columns, copying it.

use std::pin::Pin;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::NativeError;
use super::types::{self, Kind};

/// Read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// A name of a column or a type; the engine's own text of a statement is bounded far lower.
const NAME_BYTES_MAX: u64 = 1 << 20;
/// All types together that a `Dynamic` names in a block.
const NAMES_BYTES_MAX: usize = 4 << 20;
/// Types in types, those that the data names included.
const DEPTH_MAX: usize = 200;
/// Types that a `Dynamic`, and paths that a `JSON`, may name in a block. ClickHouse's own bounds are 254 and 10,000.
const NAMED_MAX: u64 = 100_000;

/// How data that comes next is laid out, where its prefix has been read.
enum Layout {
    Fixed(u64),
    Text,
    Nullable(Box<Layout>),
    Dictionary(Box<Layout>),
    Array(Box<Layout>),
    Tuple(Vec<Layout>),
    /// A discriminator of so many bytes a row, and then each one's values.
    Choice(usize, Vec<Layout>),
}

type Step<'walk, T> = Pin<Box<dyn Future<Output = Result<T, NativeError>> + Send + 'walk>>;

/// A result that is copied from `input` to `output`.
pub struct Walk<R, W> {
    input: BufReader<R>,
    output: W,
    /// Prefixes that are being read.
    depth: usize,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Walk<R, W> {
    pub fn new(input: R, output: W) -> Self {
        Self { input: BufReader::with_capacity(BUFFER_BYTES, input), output, depth: 0 }
    }

    /// Whether the input has ended.
    pub async fn at_end(&mut self) -> Result<bool, NativeError> {
        Ok(self.input.fill_buf().await?.is_empty())
    }

    /// Writes what the input does not have.
    pub async fn put(&mut self, bytes: &[u8]) -> Result<(), NativeError> {
        Ok(self.output.write_all(bytes).await?)
    }

    /// Writes what is still to be written.
    pub async fn finish(mut self) -> Result<(), NativeError> {
        Ok(self.output.shutdown().await?)
    }

    /// Copies the data of a column of `rows` rows.
    pub async fn column(&mut self, kind: &Kind, rows: u64) -> Result<(), NativeError> {
        let layout = self.prefix(kind).await?;
        self.data(&layout, rows).await
    }

    /// Copies what stands before the data of a column, and says how that is laid out.
    fn prefix<'walk>(&'walk mut self, kind: &'walk Kind) -> Step<'walk, Layout> {
        Box::pin(async move {
            if self.depth == DEPTH_MAX {
                return Err(NativeError::TooDeep);
            }
            self.depth += 1;
            let layout = match kind {
                Kind::Fixed(bytes) => Layout::Fixed(*bytes),
                Kind::Text => Layout::Text,
                Kind::Nullable(inner) => Layout::Nullable(Box::new(self.prefix(inner).await?)),
                Kind::Array(inner) => Layout::Array(Box::new(self.prefix(inner).await?)),
                Kind::Tuple(parts) => Layout::Tuple(self.prefixes(parts).await?),
                Kind::LowCardinality(inner) => {
                    self.expect(1, "a dictionary has an unknown version").await?;
                    // Its values have a place for NULL, and no map of nulls.
                    let inner = if let Kind::Nullable(inner) = &**inner { inner } else { inner };
                    Layout::Dictionary(Box::new(self.prefix(inner).await?))
                }
                Kind::Variant(parts) => {
                    self.expect(0, "a variant has an unknown form").await?;
                    Layout::Choice(1, self.prefixes(parts).await?)
                }
                Kind::Dynamic => self.dynamic().await?,
                Kind::Json(typed) => self.json(typed).await?,
            };
            self.depth -= 1;
            Ok(layout)
        })
    }

    async fn prefixes(&mut self, kinds: &[Kind]) -> Result<Vec<Layout>, NativeError> {
        let mut layouts = Vec::with_capacity(kinds.len());
        for kind in kinds {
            layouts.push(self.prefix(kind).await?);
        }
        Ok(layouts)
    }

    /// Versions 1 and 2 are a variant whose types are sorted by name, with one more for types beyond the bound; version
    /// 3, the flattened one, has types in the order named, and an index for NULL.
    async fn dynamic(&mut self) -> Result<Layout, NativeError> {
        let version = self.number().await?;
        if version == 1 {
            self.varint().await?;
        }
        let mut names = self.names().await?;
        if version == 3 {
            let layouts = self.prefixes(&kinds(&names)?).await?;
            let width = match layouts.len() {
                0..=0xff => 1,
                0x100..=0xffff => 2,
                _ => 4,
            };
            return Ok(Layout::Choice(width, layouts));
        }
        if version == 0 || version > 3 {
            return Err(NativeError::Damaged("a Dynamic has an unknown version"));
        }
        names.push(SHARED_VARIANT.to_owned());
        names.sort_unstable();
        let parts = kinds(&names)?;
        self.prefix(&Kind::Variant(parts)).await
    }

    /// Version 1 is a text; 0 and 2 have the paths of a type of their own, others that are `Dynamic`, and a map for paths
    /// beyond the bound; 3, the flattened one, has no map.
    async fn json(&mut self, typed: &[Kind]) -> Result<Layout, NativeError> {
        let version = self.number().await?;
        if version == 1 {
            return Ok(Layout::Text);
        }
        if version > 3 {
            return Err(NativeError::Damaged("a JSON has an unknown version"));
        }
        if version == 0 {
            self.varint().await?;
        }
        let paths = self.count().await?;
        for _ in 0..paths {
            let length = self.varint().await?;
            self.pass(length).await?;
        }
        let mut parts = self.prefixes(typed).await?;
        for _ in 0..paths {
            parts.push(self.prefix(&Kind::Dynamic).await?);
        }
        if version != 3 {
            let pair = Layout::Tuple(vec![Layout::Text, Layout::Text]);
            parts.push(Layout::Array(Box::new(pair)));
        }
        Ok(Layout::Tuple(parts))
    }

    /// How many types or paths are named next.
    async fn count(&mut self) -> Result<u64, NativeError> {
        match self.varint().await? {
            count @ ..=NAMED_MAX => Ok(count),
            _ => Err(NativeError::Damaged("a column names too many types or paths")),
        }
    }

    async fn names(&mut self) -> Result<Vec<String>, NativeError> {
        let (mut names, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.count().await? {
            let name = self.text().await?;
            bytes += name.len();
            if bytes > NAMES_BYTES_MAX {
                return Err(NativeError::Damaged("the types that a column names are too long"));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Copies `rows` values.
    fn data<'walk>(&'walk mut self, layout: &'walk Layout, rows: u64) -> Step<'walk, ()> {
        Box::pin(async move {
            // Of nothing, no layout writes anything.
            if rows == 0 {
                return Ok(());
            }
            match layout {
                Layout::Fixed(bytes) => self.pass(times(rows, *bytes)?).await,
                Layout::Text => self.texts(rows).await,
                Layout::Nullable(inner) => {
                    self.pass(rows).await?;
                    self.data(inner, rows).await
                }
                Layout::Array(inner) => {
                    self.pass(times(rows - 1, 8)?).await?;
                    let elements = self.number().await?;
                    self.data(inner, elements).await
                }
                Layout::Tuple(parts) => {
                    for part in parts {
                        self.data(part, rows).await?;
                    }
                    Ok(())
                }
                Layout::Dictionary(inner) => self.dictionary(inner).await,
                Layout::Choice(width, parts) => {
                    let counts = self.choices(*width, parts.len(), rows).await?;
                    for (part, rows) in parts.iter().zip(counts) {
                        self.data(part, rows).await?;
                    }
                    Ok(())
                }
            }
        })
    }

    /// One dictionary of the block's own: `u64` flags, whose lowest byte is the width of indexes as a power of two; its
    /// values; the indexes.
    async fn dictionary(&mut self, inner: &Layout) -> Result<(), NativeError> {
        const GLOBAL: u64 = 1 << 8;
        const OWN: u64 = 1 << 9;
        let flags = self.number().await?;
        if flags & 0xff > 3 || flags & GLOBAL != 0 {
            return Err(NativeError::Damaged("a dictionary has an unknown form"));
        }
        if flags & OWN != 0 {
            let values = self.number().await?;
            self.data(inner, values).await?;
        }
        let indexes = self.number().await?;
        self.pass(times(indexes, 1 << (flags & 0xff))?).await
    }

    /// Copies discriminators and counts how often each of `kinds` is there; others are NULL.
    async fn choices(&mut self, width: usize, kinds: usize, rows: u64) -> Result<Vec<u64>, NativeError> {
        let mut counts = vec![0_u64; kinds];
        let mut left = times(rows, width as u64)?;
        let mut value = [0_u8; 4];
        let mut filled = 0;
        while left > 0 {
            let taken = self.copied(left).await?;
            let (bytes, input) = (taken as usize, self.input.buffer());
            for byte in &input[..bytes] {
                value[filled] = *byte;
                filled += 1;
                if filled == width {
                    filled = 0;
                    if let Some(count) = counts.get_mut(u32::from_le_bytes(value) as usize) {
                        *count += 1;
                    }
                }
            }
            self.input.consume(bytes);
            left -= taken;
        }
        Ok(counts)
    }

    /// Copies `rows` texts.
    async fn texts(&mut self, mut rows: u64) -> Result<(), NativeError> {
        while rows > 0 {
            self.filled().await?;
            let input = self.input.buffer();
            let mut at = 0;
            let mut beyond = 0;
            while rows > 0
                && let Some((length, bytes)) = varint(&input[at..])?
            {
                rows -= 1;
                let text = length.saturating_add((at + bytes) as u64);
                if text >= input.len() as u64 {
                    (at, beyond) = (input.len(), text - input.len() as u64);
                    break;
                }
                at = usize::try_from(text).unwrap_or(input.len());
            }
            if at == 0 {
                // Its length itself is cut by the end of the buffer.
                let length = self.varint().await?;
                self.pass(length).await?;
                rows -= 1;
                continue;
            }
            self.output.write_all(&input[..at]).await?;
            self.input.consume(at);
            self.pass(beyond).await?;
        }
        Ok(())
    }

    /// Copies `bytes` bytes.
    async fn pass(&mut self, mut bytes: u64) -> Result<(), NativeError> {
        while bytes > 0 {
            let taken = self.copied(bytes).await?;
            self.input.consume(taken as usize);
            bytes -= taken;
        }
        Ok(())
    }

    /// Copies what is there of `bytes` bytes, and leaves it in the buffer.
    async fn copied(&mut self, bytes: u64) -> Result<u64, NativeError> {
        self.filled().await?;
        let input = self.input.buffer();
        let taken = usize::try_from(bytes).unwrap_or(usize::MAX).min(input.len());
        self.output.write_all(&input[..taken]).await?;
        Ok(taken as u64)
    }

    async fn filled(&mut self) -> Result<(), NativeError> {
        match self.at_end().await? {
            true => Err(NativeError::Damaged("it ends in the middle")),
            false => Ok(()),
        }
    }

    /// Copies a `u64` and says what it is.
    async fn number(&mut self) -> Result<u64, NativeError> {
        let mut bytes = [0; 8];
        self.read(&mut bytes).await?;
        self.put(&bytes).await?;
        Ok(u64::from_le_bytes(bytes))
    }

    async fn expect(&mut self, number: u64, otherwise: &'static str) -> Result<(), NativeError> {
        match self.number().await? == number {
            true => Ok(()),
            false => Err(NativeError::Damaged(otherwise)),
        }
    }

    /// Copies a varint (LEB128) and says what it is.
    pub async fn varint(&mut self) -> Result<u64, NativeError> {
        let mut bytes = Vec::with_capacity(10);
        loop {
            let mut byte = [0];
            self.read(&mut byte).await?;
            bytes.extend_from_slice(&byte);
            if let Some((value, _)) = varint(&bytes)? {
                self.put(&bytes).await?;
                return Ok(value);
            }
        }
    }

    /// Copies a name and says what it is.
    pub async fn text(&mut self) -> Result<String, NativeError> {
        let length = self.varint().await?;
        if length > NAME_BYTES_MAX {
            return Err(NativeError::Damaged("a name is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes).await?;
        self.put(&bytes).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), NativeError> {
        match self.input.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(NativeError::Damaged("it ends in the middle"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The type of values whose types are beyond the bound of a `Dynamic`; sorted by this name among the others.
const SHARED_VARIANT: &str = "SharedVariant";

fn kinds(names: &[String]) -> Result<Vec<Kind>, NativeError> {
    let kind = |name: &String| match name.as_str() {
        SHARED_VARIANT => Ok(Kind::Text),
        name => types::parse(name).ok_or_else(|| NativeError::Unsupported {
            column: "of type Dynamic or JSON".to_owned(),
            type_name: name.to_owned(),
        }),
    };
    names.iter().map(kind).collect()
}

/// The varint at the beginning and its length; `None` if it is cut off.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, NativeError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if at == 10 {
            return Err(NativeError::Damaged("a number is too long"));
        }
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    Ok(None)
}

fn times(rows: u64, bytes: u64) -> Result<u64, NativeError> {
    rows.checked_mul(bytes).ok_or(NativeError::Damaged("it has more rows than there can be"))
}
