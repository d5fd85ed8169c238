/** What the tests of encapsulation stand on: trees committed by code, written as OCI layouts, read back by other tools. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { encapsulate, type EncapsulateOptions, Repository } from '../../ostree/index.ts';
import { openImageDestination } from '../../registry/index.ts';
import { ostree, scratchDirectory, writeTree, type FileSpec } from './ostree-fixture.ts';

export const PLATFORM = { os: 'linux', architecture: 'amd64' };

/** Scratch space with a repository that holds `tree` on the ref `os`. */
export async function repositoryOf(
  tree: Readonly<Record<string, FileSpec>>,
  commit: Parameters<typeof writeTree>[2] = {},
): Promise<Disposable & { readonly path: string; readonly repository: Repository; readonly commit: string }> {
  const scratch = scratchDirectory();
  const repository = Repository.create(join(scratch.path, 'repo'), 'bare-user');
  await using transaction = await repository.beginTransaction();
  const checksum = writeTree(transaction, tree, commit);
  transaction.setRef('os', checksum);
  await transaction.commit();
  return { path: scratch.path, repository, commit: checksum, [Symbol.dispose]: () => scratch[Symbol.dispose]() };
}

type Options = Partial<Omit<EncapsulateOptions, 'repository' | 'destination'>>;

/** Writes the ref `os` into the layout, tagged `v1`. */
export async function toLayout(repository: Repository, layout: string, options: Options = {}) {
  await using destination = openImageDestination({ transport: 'oci', name: `${layout}:v1` });
  return await encapsulate({ repository, rev: 'os', destination, platform: PLATFORM, ...options });
}

export const skopeo = (...parameters: readonly string[]): string =>
  execFileSync('skopeo', parameters, { encoding: 'utf8', stdio: 'pipe' });

/** Has the peer import the layout's image into a new repository, which must then hold exactly `commit` and be sound. */
export function requirePeerImports(peer: string, layout: string, target: string, commit: string): void {
  ostree(target, 'init', '--mode=bare');
  const reference = `ostree-unverified-image:oci:${layout}:v1`;
  const parameters = ['container', 'unencapsulate', '--repo', target, '--write-ref=imported', reference];
  execFileSync(peer, parameters, { stdio: 'pipe' });
  assert.equal(ostree(target, 'rev-parse', 'imported').trim(), commit);
  assert.match(ostree(target, 'fsck'), /no errors found/);
}
