//! The hash by which replicas check what they fetch: CityHash128 (v1.0.2) over pieces of 2048 bytes, each seeded
//! with the hash of those before it, as ClickHouse's `HashingWriteBuffer` does.

use cityhash_rs::cityhash_102_128;

const PIECE: usize = 2048;
/// The constant by which the public function mixes the first eight bytes into its seed.
const K3: u64 = 0xc949_d7c7_509e_6557;

/// Both halves, the lower first.
pub fn hash(data: &[u8]) -> [u64; 2] {
    let mut seed = [0, 0];
    for piece in data.chunks(PIECE) {
        seed = seeded(piece, seed);
    }
    seed
}

/// The function with a seed is not public, but the one without it takes its seed from the first sixteen bytes.
fn seeded(data: &[u8], [low, high]: [u64; 2]) -> [u64; 2] {
    let mut text = Vec::with_capacity(16 + data.len());
    text.extend((low ^ K3).to_le_bytes());
    text.extend(high.to_le_bytes());
    text.extend(data);
    let hash = cityhash_102_128(&text);
    [(hash >> 64) as u64, hash as u64]
}
