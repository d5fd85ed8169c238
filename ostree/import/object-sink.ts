/** What a layer's content is written into: a transaction, or its writer in another thread. */
import { OstreeError } from '../errors.ts';
import type { ObjectType } from '../objects/object-name.ts';
import type { ObjectWriter } from '../repository/object-writer.ts';

export type ObjectSink = Pick<ObjectWriter, 'has' | 'writeMetadata' | 'beginFile' | 'writeFile' | 'writeSymlink'>;

/** Throws CorruptObject when an object of a layer is not the one that its name promises. */
export function expectChecksum(type: ObjectType, expected: string | undefined, actual: string): void {
  if (expected === undefined || expected === actual) return;
  throw new OstreeError(
    'CorruptObject',
    `object ${expected}.${type} of the layer is corrupt: its checksum is ${actual}`,
  );
}
