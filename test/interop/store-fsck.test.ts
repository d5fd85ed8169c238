import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { listImages, readStoredImage, Repository } from '../../ostree/index.ts';
import type { ObjectType } from '../../ostree/objects/object-name.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { type Said, treeline } from '../unit/cli/run.ts';
import { contentOf, derive, encapsulate, makeFolder, makeSystem, pull, refsOf, run } from './import-fixture.ts';

interface Report {
  readonly objects: number;
  readonly partialCommits: number;
  readonly problems: readonly { kind: string; subject: string; message: string; path?: string }[];
  readonly repaired?: { readonly steps: readonly string[] };
}

describe('treeline fsck', () => {
  let shared: string;
  let base: string;
  let derived: string;
  let pristine: string;
  let folder: string;
  let repo: string;
  let repository: Repository;
  let mergeCommit: string;
  let content: string;

  before(async () => {
    shared = await makeFolder();
    base = await encapsulate(await makeSystem(shared), shared, true);
    derived = await derive(base, join(shared, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
    pristine = join(shared, 'pristine');
    await pull(pristine, derived);
  });

  beforeEach(async () => {
    folder = await makeFolder();
    repo = join(folder, 'repo');
    await run('cp', '-a', pristine, repo);
    repository = Repository.open(repo);
    ({ mergeCommit } = listImages(repository)[0]!);
    content = await contentOf(repo, mergeCommit);
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  after(async () => {
    await rm(shared, { recursive: true });
  });

  const image = (layout: string) => `oci:${layout}:base`;

  async function check(...flags: readonly string[]): Promise<{ status: number; report: Report; said: Said }> {
    const said = await treeline(['fsck', '--repo', repo, '-o', 'json', ...flags]);
    assert.notEqual(said.stdout, '', said.stderr);
    return { status: said.status, report: JSON.parse(said.stdout) as Report, said };
  }

  /** Whether `ostree fsck` finds nothing. */
  async function ostreeAgrees(): Promise<boolean> {
    return await promisify(execFile)('ostree', [`--repo=${repo}`, 'fsck', '--quiet', '--all']).then(
      () => true,
      () => false,
    );
  }

  function fileAt(path: string): string {
    return TreeDirectory.load(repository, repository.readCommit(mergeCommit)).lookup(path) as string;
  }

  function directoryAt(path: string): string {
    const segments = path.split('/');
    let { dirtree } = repository.readCommit(mergeCommit);
    for (const segment of segments) {
      dirtree = repository.readDirtree(dirtree).directories.find(({ name }) => name === segment)!.dirtree;
    }
    return dirtree;
  }

  /** Changes a file in place, its times too, as a bad disk does. */
  function damage(type: ObjectType, checksum: string, how: (path: string) => void): void {
    const path = repository.objectPath(type, checksum);
    const { atime, mtime } = lstatSync(path);
    how(path);
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) utimesSync(path, atime, mtime);
  }

  it('finds nothing wrong with a store that is sound, and looks at each object once', async () => {
    const { status, report } = await check();
    assert.deepEqual([status, report.problems], [0, []]);
    const objects = await run('find', join(repo, 'objects'), '-type', 'f', '-o', '-type', 'l');
    assert.equal(report.objects, objects.trim().split('\n').length);
    assert.match((await treeline(['fsck', '--repo', repo])).stdout, /^Verified \d+ objects .*\nNo problems\.\n$/);
  });

  interface Damage {
    readonly what: string;
    readonly kind: string;
    readonly harm: () => void;
    /** What stands in a problem about it. */
    readonly shown: RegExp;
    /** `ostree fsck` looks for it, too. */
    readonly judged: boolean;
    readonly layersFetched: number;
  }

  const damages: readonly Damage[] = [
    {
      what: 'a flipped bit in a file',
      kind: 'CorruptObject',
      harm: () =>
        damage('file', fileAt('usr/lib/big'), (path) => {
          const bytes = readFileSync(path);
          bytes[1000]! ^= 1;
          writeFileSync(path, bytes);
        }),
      shown: /usr\/lib\/big of commit/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'a truncated directory',
      kind: 'CorruptObject',
      harm: () => damage('dirtree', directoryAt('usr/lib'), (path) => truncateSync(path, 20)),
      shown: /dirtree \(\/usr\/lib\/ of commit/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'a file that was deleted',
      kind: 'MissingObject',
      harm: () => rmSync(repository.objectPath('file', fileAt('usr/bin/sh'))),
      shown: /usr\/bin\/sh of commit .* is missing/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'a file of a derived layer that was deleted',
      kind: 'MissingObject',
      harm: () => rmSync(repository.objectPath('file', fileAt('usr/share/new'))),
      shown: /is missing/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'a file with another owner',
      kind: 'CorruptObject',
      harm: () => damage('file', fileAt('usr/etc/app.conf'), (path) => chownSync(path, 1, 1)),
      shown: /owner/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'a file with another mode',
      kind: 'CorruptObject',
      harm: () => damage('file', fileAt('usr/bin/sudo'), (path) => chmodSync(path, 0o755)),
      shown: /mode/,
      judged: true,
      layersFetched: 1,
    },
    {
      what: 'the ref of a layer that was deleted',
      kind: 'MissingLayerRef',
      harm: () => {
        const [ref] = [...repository.listRefs('ostree/container/blob').keys()];
        repository.deleteRefs([ref!]);
      },
      shown: /layer sha256:.* has no ref/,
      judged: false,
      layersFetched: 1,
    },
    {
      what: 'an image whose commit is gone',
      kind: 'DanglingRef',
      harm: () => rmSync(repository.objectPath('commit', mergeCommit)),
      shown: /names the commit .* which is not there/,
      judged: true,
      layersFetched: 0,
    },
    {
      what: 'the ref of a layer that holds garbage',
      kind: 'InvalidRef',
      harm: () => {
        const [ref] = [...repository.listRefs('ostree/container/blob').keys()];
        writeFileSync(join(repo, 'refs/heads', ref!), 'garbage\n');
      },
      shown: /holds no checksum/,
      judged: false,
      layersFetched: 1,
    },
  ];

  for (const { what, kind, harm, shown, judged, layersFetched } of damages) {
    it(`finds and repairs ${what}, fetching no more than it must`, async () => {
      harm();
      const found = await check();
      assert.equal(found.status, 1);
      const problem = found.report.problems.find((one) => one.kind === kind);
      assert.ok(problem, found.said.stdout);
      assert.match(problem.message, shown);
      if (judged) assert.equal(await ostreeAgrees(), false, 'ostree fsck finds it too');

      const { status, report } = await check('--repair');
      assert.deepEqual([status, report.problems, report.partialCommits], [0, [], 0]);
      const fetched = report.repaired!.steps.flatMap((step) => /Fetching (\d+) layers/.exec(step)?.[1] ?? []);
      assert.deepEqual(fetched, layersFetched === 0 ? [] : [String(layersFetched)], report.repaired!.steps.join('\n'));
      assert.ok(await ostreeAgrees());
      assert.equal(await contentOf(repo, mergeCommit), content);
      assert.equal(readStoredImage(repository, mergeCommit).version, '42.1');
      assert.equal((await refsOf(repo, 'ostree/container/blob')).size, 6);
    });
  }

  it('goes on to complain, as `ostree fsck` does, about what cannot be fetched again, and repairs it later', async () => {
    const away = join(shared, 'away');
    await run('mv', derived, away);
    try {
      rmSync(repository.objectPath('file', fileAt('usr/bin/sh')));
      damage('file', fileAt('usr/lib/big'), (path) => truncateSync(path, 5));
      const { status, report } = await check('--repair');
      assert.equal(status, 1);
      assert.match(report.repaired!.steps.join('\n'), /could not be repaired: /);
      assert.ok(report.problems.some((one) => one.kind === 'IncompleteCommit'));
      assert.equal(await ostreeAgrees(), false);
    } finally {
      await run('mv', away, derived);
    }
    const again = await check('--repair');
    assert.deepEqual([again.status, again.report.problems], [0, []]);
    assert.ok(await ostreeAgrees());
  });

  it('repairs the image that was pulled, though its name means another one by now', async () => {
    const moving = join(folder, 'moving');
    await cp(derived, moving, { recursive: true });
    const before = await pull(repo, moving);
    // The blobs are still there; the tag names the image without the derived layer.
    await cp(join(base, 'index.json'), join(moving, 'index.json'));
    rmSync(repository.objectPath('file', fileAt('usr/share/new')));
    const { status } = await check('--repair');
    assert.equal(status, 0);
    assert.equal(repository.readRef([...repository.listRefs('ostree/container/image')].at(-1)![0]), before.mergeCommit);
  });

  it('repairs by an ordinary pull as well, once a commit is marked', async () => {
    rmSync(repository.objectPath('file', fileAt('usr/bin/sh')));
    const [, , layer] = [...repository.listRefs('ostree/container/blob').values()];
    assert.ok(layer);
    for (const commit of [mergeCommit, ...repository.listRefs('ostree/container/blob').values()]) {
      repository.setPartial(commit, 'damaged');
    }
    const pulled = await pull(repo, derived);
    assert.deepEqual([pulled.alreadyPresent, pulled.layersFetched], [false, 6]);
    assert.deepEqual((await check()).report.problems, []);
    assert.ok(await ostreeAgrees());
  });

  it('names what nobody can understand, instead of failing on it', async () => {
    await run('ostree', `--repo=${repo}`, 'refs', '--create=ostree/container/image/by-hand', mergeCommit);
    const sysroot = join(folder, 'sysroot');
    await run('mkdir', '-p', join(sysroot, `ostree/deploy/os/deploy`));
    await run('mv', repo, join(sysroot, 'ostree/repo'));
    writeFileSync(
      join(sysroot, `ostree/deploy/os/deploy/${mergeCommit}.0.origin`),
      '[origin]\ncontainer-image-reference=moon:x\n',
    );
    const said = await treeline(['fsck', '--repo', join(sysroot, 'ostree/repo'), '-o', 'json']);
    const kinds = (JSON.parse(said.stdout) as Report).problems.map(({ kind, subject }) => `${kind} ${subject}`);
    assert.deepEqual(kinds.sort(), [
      'UnreadableDeployment deployments',
      'UnreadableImage ostree/container/image/by-hand',
    ]);
  });

  it('can look at one image only', async () => {
    await pull(repo, base);
    const all = (await check()).report.objects;
    const { report } = await check('--image', image(base));
    assert.ok(report.objects < all, `${report.objects} of ${all}`);
    rmSync(repository.objectPath('file', fileAt('usr/share/new')));
    assert.equal((await check('--image', image(base))).status, 0);
    assert.equal((await check('--image', image(derived))).status, 1);
    const absent = await treeline(['fsck', '--repo', repo, '--image', 'quay.io/a/b']);
    assert.equal(absent.status, 1);
    assert.match(absent.stderr, /holds no image docker:\/\/quay\.io\/a\/b/);
  });

  it('says that a checkout keeps a damaged file that it shares', async () => {
    await run('ostree', `--repo=${repo}`, 'checkout', '--require-hardlinks', mergeCommit, join(folder, 'checkout'));
    damage('file', fileAt('usr/lib/big'), (path) => truncateSync(path, 5));
    const [problem] = (await check()).report.problems;
    assert.match(problem!.message, /a checkout holds the same damaged file/);
  });
});
