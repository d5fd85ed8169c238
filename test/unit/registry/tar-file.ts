/** A small tar in memory, for archives that `tar` would never write. */

export interface TarFile {
  readonly name: string;
  readonly content?: Buffer | string;
  /** A symbolic link to it, or a hard one. */
  readonly link?: { readonly to: string; readonly hard?: boolean };
}

export function tarOf(files: readonly TarFile[]): Buffer {
  const parts: Buffer[] = [];
  for (const { name, content = '', link } of files) {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    header.write(name, 0, 100, 'utf8');
    header.write('0000644\0', 100);
    header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(link === undefined ? '0' : link.hard === true ? '1' : '2', 156);
    header.write(link?.to ?? '', 157, 100, 'utf8');
    header.write('ustar\u000000', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    parts.push(header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
