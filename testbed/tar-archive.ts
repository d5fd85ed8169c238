/** Builds tar archives entry by entry, well formed or deliberately not: layers of images that tests derive. */

export interface MemberOptions {
  /** One character; `0` file (default), `1` hardlink, `2` symlink, `5` directory, … */
  readonly type?: string;
  readonly content?: Buffer | string;
  readonly linkPath?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** Written to the header instead of the content's size. */
  readonly claimedSize?: number;
  /** PAX records, binary values allowed. `xattrs` are turned into `SCHILY.xattr.` records. */
  readonly pax?: Readonly<Record<string, Buffer | string>>;
  readonly xattrs?: Readonly<Record<string, Buffer | string>>;
  /** Called on the finished header before its checksum is computed. */
  readonly tamper?: (header: Buffer) => void;
}

const BLOCK = 512;

/** Collects members; `finish` adds the end marker. */
export class Archive {
  readonly #pieces: Buffer[] = [];

  add(path: string | Buffer, options: MemberOptions = {}): this {
    const name = Buffer.from(path);
    const link = Buffer.from(options.linkPath ?? '');
    const records = { ...options.pax };
    for (const [key, value] of Object.entries(options.xattrs ?? {})) records[`SCHILY.xattr.${key}`] = value;
    if (Object.keys(records).length > 0) this.raw('PaxHeaders/x', 'x', paxBody(records));
    if (name.length > 100) this.raw('././@LongLink', 'L', Buffer.concat([name, Buffer.of(0)]));
    if (link.length > 100) this.raw('././@LongLink', 'K', Buffer.concat([link, Buffer.of(0)]));
    const content = Buffer.from(options.content ?? '');
    this.#pieces.push(header(name, link, content.length, options), padded(content));
    return this;
  }

  /** A member of any type whose content is `body`, such as an extended header. */
  raw(path: string, type: string, body: Buffer, claimedSize = body.length): this {
    this.#pieces.push(header(Buffer.from(path), Buffer.alloc(0), claimedSize, { type }), padded(body));
    return this;
  }

  /** Bytes as they are. */
  bytes(bytes: Buffer): this {
    this.#pieces.push(bytes);
    return this;
  }

  file(path: string, content: Buffer | string, options: MemberOptions = {}): this {
    return this.add(path, { ...options, content });
  }

  directory(path: string, options: MemberOptions = {}): this {
    return this.add(path, { mode: 0o755, ...options, type: '5' });
  }

  symlink(path: string, linkPath: string, options: MemberOptions = {}): this {
    return this.add(path, { mode: 0o777, ...options, type: '2', linkPath });
  }

  hardlink(path: string, linkPath: string, options: MemberOptions = {}): this {
    return this.add(path, { ...options, type: '1', linkPath });
  }

  finish(): Buffer {
    return Buffer.concat([...this.#pieces, Buffer.alloc(2 * BLOCK)]);
  }

  /** Without the end marker. */
  unfinished(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}

function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

function header(name: Buffer, link: Buffer, size: number, options: MemberOptions): Buffer {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0, 0, 100);
  number(block, 100, 8, options.mode ?? 0o644);
  number(block, 108, 8, options.uid ?? 0);
  number(block, 116, 8, options.gid ?? 0);
  number(block, 124, 12, options.claimedSize ?? size);
  number(block, 136, 12, options.mtime ?? 0);
  block.write(options.type ?? '0', 156, 'latin1');
  link.copy(block, 157, 0, 100);
  block.write('ustar  \0', 257, 'latin1');
  options.tamper?.(block);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function number(block: Buffer, offset: number, length: number, value: number): void {
  const octal = value.toString(8);
  if (value >= 0 && octal.length < length) {
    block.write(octal.padStart(length - 1, '0'), offset, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let at = length - 1; at >= 0; at--) {
    block[offset + at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[offset] = value < 0 ? 0xff : (block[offset] ?? 0) | 0x80;
}

export function paxBody(records: Readonly<Record<string, Buffer | string>>): Buffer {
  return Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}
