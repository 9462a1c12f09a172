//! What a batch's records are compressed by.

use std::io::{Read, Take};

use rdkafka::types::RDKafkaErrorCode;
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::batch::Wrong;

/// Room to expand into at first.
const ROOM: usize = 64 << 10;
/// With what a body begins that Java's snappy library has written; its versions follow, four bytes each.
const SNAPPY_JAVA: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_VERSIONS: usize = 8;

/// Expands what is compressed, up to a bound: what a few bytes say they expand to is not believed.
pub(super) struct Codecs {
    zstd: Zstd<'static>,
    most: usize,
}

impl Codecs {
    /// Of batches that expand to so many bytes at most.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn new(most: usize) -> std::io::Result<Self> {
        Ok(Codecs { zstd: Zstd::new()?, most })
    }

    /// Expands `body` into `out`, which is cleared. Linear in what comes out.
    ///
    /// # Errors
    /// If it is damaged, expands beyond the bound, or the codec is not known.
    pub(super) fn expand(&mut self, codec: i16, body: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        out.clear();
        let done = match codec {
            1 => self.read(flate2::bufread::MultiGzDecoder::new(body), out),
            2 => self.snappy(body, out),
            3 => self.read(lz4_flex::frame::FrameDecoder::new(body), out),
            4 => self.zstd(body, out),
            unknown => {
                let text = format!("a batch is compressed by codec {unknown}, which is not known");
                return Err(Wrong { code: RDKafkaErrorCode::NotImplemented, text });
            }
        };
        done.map_err(|text| Wrong {
            code: RDKafkaErrorCode::BadCompression,
            text: format!("a batch that is compressed by {}: {text}", NAMES[codec.cast_unsigned() as usize]),
        })
    }

    fn too_large(&self) -> String {
        format!("it expands to more than {} bytes", self.most)
    }

    fn read(&self, from: impl Read, out: &mut Vec<u8>) -> Result<(), String> {
        let mut from: Take<_> = from.take(self.most as u64 + 1);
        from.read_to_end(out).map_err(|error| error.to_string())?;
        if out.len() > self.most { Err(self.too_large()) } else { Ok(()) }
    }

    /// librdkafka writes one block, Java's library some of them with their lengths.
    fn snappy(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let Some(mut rest) = body.strip_prefix(SNAPPY_JAVA).and_then(|rest| rest.get(SNAPPY_VERSIONS..))
        else {
            return self.snappy_block(body, out);
        };
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or("it is cut off")?;
            let length = u32::from_be_bytes(*length) as usize;
            let (block, after) = after.split_at_checked(length).ok_or("it is cut off")?;
            self.snappy_block(block, out)?;
            rest = after;
        }
        Ok(())
    }

    fn snappy_block(&self, block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
        let at = out.len();
        if length > self.most - at {
            return Err(self.too_large());
        }
        out.resize(at + length, 0);
        snap::raw::Decoder::new().decompress(block, &mut out[at..]).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn zstd(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.zstd.reinit().map_err(|error| error.to_string())?;
        let mut input = InBuffer::around(body);
        loop {
            if out.len() > self.most {
                return Err(self.too_large());
            }
            if out.capacity() - out.len() < ROOM {
                out.reserve(out.capacity().max(ROOM));
            }
            let at = out.len();
            let mut output = OutBuffer::around_pos(out, at);
            let left = self.zstd.run(&mut input, &mut output).map_err(|error| error.to_string())?;
            let stands = input.pos == body.len() && output.pos() == at;
            if left == 0 && input.pos == body.len() {
                return if out.len() > self.most { Err(self.too_large()) } else { Ok(()) };
            }
            if stands {
                return Err("it is cut off".to_owned());
            }
        }
    }
}

/// By number, as Kafka has them.
const NAMES: [&str; 5] = ["nothing", "gzip", "snappy", "lz4", "zstd"];
