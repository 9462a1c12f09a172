//! Batches as another encoder writes them, for tests of the crate as well.

use std::io::Write as _;

use bytes::BytesMut;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions};

/// What a batch may be compressed by.
pub(crate) const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A body, compressed.
pub(crate) fn compress(body: &[u8], codec: Compression) -> Vec<u8> {
    match codec {
        Compression::None => body.to_vec(),
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(body).and_then(|()| out.finish()).expect("memory takes all")
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(body).expect("memory takes all"),
        Compression::Lz4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(body).expect("memory takes all");
            out.finish().expect("memory takes all")
        }
        Compression::Zstd => zstd::encode_all(body, 1).expect("memory takes all"),
    }
}

/// One batch.
pub(crate) fn batch(records: &[Record], codec: Compression) -> Vec<u8> {
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: codec };
    let compressor = |body: &mut BytesMut, out: &mut BytesMut, codec| {
        out.extend_from_slice(&compress(body, codec));
        Ok(())
    };
    RecordBatchEncoder::encode_with_custom_compression(&mut out, records, &options, Some(compressor))
        .expect("these are records");
    out.to_vec()
}
