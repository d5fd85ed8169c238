/** Bytes that are the same in every run, and make a compressor go all its ways: text, noise, runs, matches near and far. */
export function knownBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = 0x2545f491;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (let at = 0; at < size;) {
    const length = Math.min(1 + random(1 << random(13)), size - at);
    switch (random(5)) {
      case 0:
        for (let i = 0; i < length; i++) bytes[at + i] = random(256);
        break;
      case 1:
        bytes.fill(random(256), at, at + length);
        break;
      case 2:
        for (let i = 0; i < length; i++) bytes[at + i] = 97 + random(1 + random(26));
        break;
      default: {
        const distance = 1 + random(Math.min(at, 40_000) || 1);
        for (let i = 0; i < length; i++) bytes[at + i] = bytes[Math.max(at + i - distance, 0)] ?? 0;
      }
    }
    at += length;
  }
  return bytes;
}
