/** Whether chunks and a commit fit each other: an object that no layer carries would be missing wherever the image is imported. */
import type { Chunk } from '../chunking/chunk.ts';
import { OstreeError } from '../errors.ts';
import type { CommitContent } from './commit-content.ts';

/**
 * @throws {OstreeError} `InvalidData`, naming object and chunk, when a content object of the commit is in no chunk or in
 *   two, when a chunk has one that is not the commit's, and when two chunks are empty: importers tell layers by digest.
 */
export function requireCover(commit: string, content: CommitContent, chunks: readonly Chunk[]): void {
  const owners = new Map<string, string>();
  let empty: string | undefined;
  for (const { name, objects } of chunks) {
    if (objects.length === 0) {
      if (empty !== undefined) throw refused(`the chunks ${quoted(empty)} and ${quoted(name)} are both empty`);
      empty = name;
    }
    for (const object of objects) {
      const owner = owners.get(object);
      if (owner !== undefined) {
        throw refused(`object ${object} is twice in them: in ${quoted(owner)} and in ${quoted(name)}`);
      }
      if (!content.has(object)) throw refused(`object ${object} of ${quoted(name)} is not in the commit ${commit}`);
      owners.set(object, name);
    }
  }
  const [left, ...others] = [...content.keys()].filter((object) => !owners.has(object)).sort();
  if (left === undefined) return;
  const path = content.get(left)?.[0];
  const where = path === undefined ? 'in /sysroot' : `/${path}`;
  const more = others.length === 0 ? '' : `, nor are ${others.length} others`;
  throw refused(`object ${left} (${where}) of the commit ${commit} is in none of them${more}`);
}

function refused(what: string): OstreeError {
  return new OstreeError(
    'InvalidData',
    `The chunks do not make up the commit: ${what}; each content object must be in exactly one chunk`,
  );
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
