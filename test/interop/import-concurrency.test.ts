/**
 * Several tools at work on one repository at once: what each wrote is there afterwards, nothing that somebody needs is
 * gone, and nobody has met an error. The host's own ostree works in loops beside us, as scripts and timers do.
 */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pruneLayers, pullImage, type PulledImage, Repository } from '../../ostree/index.ts';
import { imageRef } from '../../ostree/import/store-refs.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { checkRepository } from '../../testbed/repository-check.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { contentOf, derive, encapsulate, makeFolder, makeSystem, PLATFORM, refsOf, run } from './import-fixture.ts';

/** How long the others go on beside imports: long enough for dozens of their rounds. */
const BESIDE_MS = 12_000;
/**
 * libostree looks through the staging directories of others for one to take over, and gives up when one is gone between being listed
 * and being opened; two of its own commands do that to each other as well. Nothing has happened by then.
 */
const STAGING_GONE = /opendir\(staging-[^)]+\): No such file or directory/;
/** Of each connection: so that an import takes about a second, and much can happen in it. */
const BYTES_PER_SECOND = 2_000_000;

describe('two at work on one repository', () => {
  let folder: string;
  let registry: LayoutRegistry;
  const expected = new Map<string, string>();
  let repository: string;

  before(async () => {
    folder = await makeFolder();
    const files = Array.from({ length: 500 }, (_, index) => {
      const content = index % 50 === 0 ? `${index} `.repeat(60_000) : `content of file ${index}`;
      return [`usr/lib/many/${index % 30}/${index}`, content] as const;
    });
    const base = await encapsulate(await makeSystem(folder, files), folder, true);
    const layers = ['one', 'two'].map((name) => {
      const tar = new Archive().file('usr/share/name', name);
      for (let index = 0; index < 50; index++) tar.file(`usr/share/${name}/${index}`, `${name} ${index}`.repeat(500));
      return tar.finish();
    });
    const common = new Archive().file('usr/share/common', 'common '.repeat(100_000)).finish();
    const layouts = {
      base,
      one: await derive(base, join(folder, 'one'), [common, layers[0]!]),
      two: await derive(base, join(folder, 'two'), [common, layers[1]!]),
    };
    registry = await LayoutRegistry.start({ layouts });
    for (const name of Object.keys(layouts)) {
      const path = await initialise(`expected-${name}`);
      expected.set(name, await contentOf(path, (await pull(name, path)).mergeCommit));
    }
    registry.bytesPerSecond = BYTES_PER_SECOND;
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  beforeEach(async () => {
    repository = await initialise('repository');
  });

  afterEach(async () => {
    await rm(repository, { recursive: true });
  });

  it('imports the same image twice at once', async () => {
    const both = await Promise.all([pull('one'), pull('one'), pullByCommand('one')]);
    assert.equal(new Set(both.map(({ mergeCommit }) => mergeCommit)).size, 1);
    await assertImages('one');
  });

  it('imports two images that share layers at once, in one process and in two', async () => {
    await Promise.all([pull('one'), pull('two'), pullByCommand('base')]);
    await assertImages('one', 'two', 'base');
  });

  it('imports while our clean-up runs over and over', async () => {
    await beside(
      async () => {
        await treeline(['image', 'prune-layers', '--repo', repository]);
      },
      async () => {
        await pruneLayers(Repository.open(repository));
      },
    );
  });

  it('imports while the host prunes what no ref names, over and over', async () => {
    await beside(async () => {
      await ostree(`--repo=${repository}`, 'prune', '--refs-only', '--depth=0');
    });
  });

  it('imports while the host commits, deletes refs, lists and checks', async () => {
    const tree = join(folder, 'tree');
    await mkdir(tree, { recursive: true });
    let round = 0;
    await beside(
      async () => {
        const name = `host/${round++ % 4}`;
        await writeFile(join(tree, 'file'), `round ${round}`);
        await ostree(`--repo=${repository}`, 'commit', `--branch=${name}`, `--tree=dir=${tree}`);
        await run('ostree', `--repo=${repository}`, 'refs', '--create=host/copy', '--force', name);
      },
      async () => {
        await run('ostree', `--repo=${repository}`, 'refs', '--delete', 'host/copy');
        await run('ostree', `--repo=${repository}`, 'refs', '--list');
      },
      async () => {
        const { code, stdout, stderr } = await checkRepository(repository);
        assert.equal(code, 0, `${stdout}${stderr}`);
      },
    );
    const theirs = await refsOf(repository, 'host');
    assert.deepEqual(
      [...theirs.keys()].filter((name) => /^host\/\d$/.test(name)).length,
      Math.min(4, round),
      'all that the host committed is there',
    );
    for (const commit of theirs.values()) await run('ostree', `--repo=${repository}`, 'ls', '-R', commit);
  });

  it('imports while the host tidies up a sysroot', async () => {
    const sysroot = join(folder, 'sysroot');
    await mkdir(sysroot);
    await run('ostree', 'admin', 'init-fs', '--modern', sysroot);
    await run('ostree', 'admin', `--sysroot=${sysroot}`, 'os-init', 'test');
    await rm(repository, { recursive: true });
    repository = join(sysroot, 'ostree/repo');
    await run('ostree', `--repo=${repository}`, 'config', 'set', 'core.min-free-space-size', '1MB');
    await beside(
      async () => {
        await ostree('admin', `--sysroot=${sysroot}`, 'cleanup');
      },
      async () => {
        await run('ostree', 'admin', `--sysroot=${sysroot}`, 'status');
      },
    );
  });

  /**
   * Imports the images in turn, one of them anew each time, while `others` do their work in loops; then all must be right.
   */
  async function beside(...others: readonly (() => Promise<void>)[]): Promise<void> {
    const over = performance.now() + BESIDE_MS;
    const rounds = others.map(() => 0);
    const loops = others.map(async (work, index) => {
      while (performance.now() < over) {
        await work();
        rounds[index] = (rounds[index] ?? 0) + 1;
        await sleep(5);
      }
    });
    const importing = async (): Promise<void> => {
      await pull('base');
      for (let round = 0; performance.now() < over; round++) {
        const name = round % 2 === 0 ? 'one' : 'two';
        await Repository.open(repository).setRef(imageRefOf(name), undefined);
        // The clean-up that follows a pull has dropped the layers of the other image, or is about to.
        await pull(name);
        await assertContent(name);
      }
      await Promise.all([pull('one'), pull('two')]);
    };
    await Promise.all([importing(), ...loops]);
    assert.ok(
      rounds.every((count) => count >= 3),
      `rounds of the others: ${rounds.join()}`,
    );
    await assertImages('base', 'one', 'two');
  }

  /** A command of the host's, as whoever meets `STAGING_GONE` gives it: once more. */
  async function ostree(...parameters: readonly string[]): Promise<void> {
    for (;;) {
      try {
        await run('ostree', ...parameters);
        return;
      } catch (error) {
        if (!(error instanceof Error && STAGING_GONE.test(error.message))) throw error;
      }
    }
  }

  async function initialise(name: string): Promise<string> {
    const path = join(folder, name);
    await run('ostree', `--repo=${path}`, 'init', '--mode=bare');
    return path;
  }

  async function pull(name: string, path = repository): Promise<PulledImage> {
    const reference = parseOstreeImageReference(referenceOf(name));
    await using source = openImageSource(reference.image, { plainHttpHosts: [registry.host] });
    return await pullImage({ repository: Repository.open(path), source, reference, platform: PLATFORM });
  }

  /** In a process of its own. */
  async function pullByCommand(name: string): Promise<{ readonly mergeCommit: string }> {
    const flags = ['--output', 'json', '--plain-http', registry.host, '--repo', repository];
    return JSON.parse(await treeline(['image', 'pull', ...flags, referenceOf(name)])) as { mergeCommit: string };
  }

  function referenceOf(name: string): string {
    return `ostree-unverified-registry:${registry.host}/${name}:latest`;
  }

  function imageRefOf(name: string): string {
    return imageRef(parseOstreeImageReference(referenceOf(name)).image);
  }

  async function assertContent(name: string): Promise<void> {
    const commit = (await run('ostree', `--repo=${repository}`, 'rev-parse', imageRefOf(name))).trim();
    assert.equal(await contentOf(repository, commit), expected.get(name), name);
  }

  /** The repository is clean and holds these images, right, and nothing that speaks of work under way. */
  async function assertImages(...names: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await checkRepository(repository);
    assert.equal(code, 0, `${stdout}${stderr}`);
    for (const name of names) await assertContent(name);
    assert.equal((await refsOf(repository, 'ostree/container/baseimage')).size, 0, 'no guard is left');
    const refs = await refsOf(repository, 'ostree/container/image');
    assert.equal(refs.size, names.length);
  }
});
