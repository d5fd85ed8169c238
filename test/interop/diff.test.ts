import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pack } from '../../ostree/chunking/pack.ts';
import { componentsOf } from '../../ostree/packages/components.ts';
import { encodeRpmHeader, encodeSqliteDatabase, type RpmSpec } from '../../testbed/rpm-database.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { treeline } from '../unit/cli/run.ts';
import { repositoryOf, toLayout } from './encapsulate-fixture.ts';
import { derive } from './import-fixture.ts';
import { type FileSpec, ostree } from './ostree-fixture.ts';

interface Said {
  readonly bytesToPull: number | null;
  readonly packages: Record<'added' | 'removed' | 'updated', readonly Record<string, unknown>[]> | null;
  readonly packageNames: Record<'added' | 'removed' | 'maybeUpdated', readonly string[]> | null;
  readonly layers: { readonly shared: { readonly layers: number } } | null;
  readonly content: { readonly added: { readonly objects: number } } | null;
}

async function diff(...parameters: readonly string[]): Promise<Said> {
  const { status, stdout, stderr } = await treeline(['diff', ...parameters, '-o', 'json', '--architecture', 'amd64']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Said;
}

function database(...packages: readonly RpmSpec[]): Buffer {
  return encodeSqliteDatabase(packages.map(encodeRpmHeader));
}

/** An OS with these packages, each with a file of its own. */
function system(versions: Readonly<Record<string, string>>): Readonly<Record<string, FileSpec>> {
  const packages = Object.entries(versions).map(([name, version]) => ({ name, version, files: [`/usr/lib/${name}`] }));
  return {
    ...Object.fromEntries(packages.map(({ name, version }) => [`usr/lib/${name}`, { content: `${name} ${version}` }])),
    'usr/share/rpm/rpmdb.sqlite': { content: database(...packages) },
  };
}

const BEFORE = system({ bash: '1', kernel: '6.1', gone: '1' });
const AFTER = system({ bash: '1', kernel: '6.2', come: '1' });
const CHANGES = { added: ['come'], removed: ['gone'], updated: ['kernel'] };

function namesOf({ packages }: Said): unknown {
  return {
    added: packages?.added.map(({ name }) => name),
    removed: packages?.removed.map(({ name }) => name),
    updated: packages?.updated.map(({ after }) => (after as { readonly name: string }).name),
  };
}

/** Writes both systems as images; returns their references. */
async function images(
  before: Awaited<ReturnType<typeof repositoryOf>>,
  after: Awaited<ReturnType<typeof repositoryOf>>,
  chunked: boolean,
): Promise<readonly [string, string]> {
  const references: string[] = [];
  for (const { path, repository, commit } of [before, after]) {
    const components = await componentsOf(repository, commit);
    const chunks = chunked ? pack(components, { maxLayers: 16, algorithm: 'baseline' }) : undefined;
    const layout = join(path, chunked ? 'chunked' : 'single');
    await toLayout(repository, layout, { chunks });
    references.push(`oci:${layout}:v1`);
  }
  return [references[0] ?? '', references[1] ?? ''];
}

describe('treeline diff', () => {
  it('fetches the packages of images, chunked or not, and finds what it finds in the repository', async () => {
    using before = await repositoryOf(BEFORE);
    using after = await repositoryOf(AFTER);
    for (const chunked of [true, false]) {
      const references = await images(before, after, chunked);
      const fetched = await diff('--fetch-packages', ...references);
      assert.deepEqual(namesOf(fetched), CHANGES);
      // That of bash, and the one for packages to come.
      assert.equal(fetched.layers?.shared.layers, chunked ? 2 : 0);
      // The repository of one side has the commit of that side only; the other is fetched.
      const mixed = await diff('--repo', before.repository.path, '--fetch-packages', ...references);
      assert.deepEqual(mixed.packages, fetched.packages);
    }
  });

  it('without that says which packages came and went by the annotations, and fetches no layer', async () => {
    using before = await repositoryOf(BEFORE);
    using after = await repositoryOf(AFTER);
    const found = await diff(...(await images(before, after, true)));
    assert.equal(found.packages, null);
    assert.deepEqual(found.packageNames, {
      added: ['come'],
      removed: ['gone'],
      maybeUpdated: ['kernel', 'unpackaged'],
    });
    assert.ok((found.bytesToPull ?? 0) > 0);
    assert.equal((await diff(...(await images(before, after, false)))).packageNames, null);
  });

  it('compares commits of a repository, by ref and by checksum, and writes a page', async () => {
    using before = await repositoryOf(BEFORE);
    const page = join(before.path, 'page.html');
    const repository = before.repository.path;
    const said = await diff('--repo', repository, '--html', page, 'os', before.commit);
    assert.deepEqual(namesOf(said), { added: [], removed: [], updated: [] });
    assert.deepEqual([said.bytesToPull, said.content?.added.objects], [null, 0]);
    assert.match(readFileSync(page, 'utf8'), /All packages are the same/);
    const missing = await treeline(['diff', '--repo', repository, 'os', 'other']);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /has no ref or commit other, and it is no image either/);
  });

  it('knows of images that the repository holds what is in them, and fetches nothing', async () => {
    using before = await repositoryOf(BEFORE);
    using after = await repositoryOf(AFTER);
    const references = await images(before, after, true);
    const store = join(before.path, 'store');
    ostree(store, 'init', '--mode=bare-user');
    for (const reference of references) {
      const pulled = await treeline(['image', 'pull', '--repo', store, '--architecture', 'amd64', reference]);
      assert.equal(pulled.status, 0, pulled.stderr);
      rmSync(reference.replace(/^oci:|:v1$/g, ''), { recursive: true });
    }
    const found = await diff('--repo', store, ...references);
    assert.deepEqual(namesOf(found), CHANGES);
    assert.equal(found.layers?.shared.layers, 2);
    // The kernel, what came, and the database.
    assert.equal(found.content?.added.objects, 3);
  });

  it('takes the database of the topmost layer that has one, and what that removes for gone', async () => {
    using before = await repositoryOf(BEFORE);
    using after = await repositoryOf(AFTER);
    const [base] = await images(before, after, true);
    const layout = base.replace(/^oci:|:v1$/g, '');
    const path = 'usr/share/rpm/rpmdb.sqlite';
    const lower = new Archive().file(path, database({ name: 'lower' })).finish();
    const upper = new Archive().file(`./${path}`, database({ name: 'upper' })).finish();
    const layered = await derive(layout, join(before.path, 'layered'), [lower, upper]);
    const found = await diff('--fetch-packages', base, `oci:${layered}:base`);
    assert.deepEqual(namesOf(found), { added: ['upper'], removed: ['bash', 'gone', 'kernel'], updated: [] });
    // The repository has the commit below, but that is not all of the image.
    const known = await diff('--repo', before.repository.path, '--fetch-packages', base, `oci:${layered}:base`);
    assert.deepEqual(known.packages, found.packages);
    for (const whiteout of ['usr/share/rpm/.wh.rpmdb.sqlite', 'usr/share/.wh.rpm', 'usr/share/rpm/.wh..wh..opq']) {
      const layer = new Archive().file(whiteout, '').finish();
      const without = await derive(layout, join(before.path, `without-${whiteout.length}`), [layer]);
      const gone = await diff('--fetch-packages', base, `oci:${without}:base`);
      assert.deepEqual(namesOf(gone), { added: [], removed: ['bash', 'gone', 'kernel'], updated: [] }, whiteout);
    }
  });
});
