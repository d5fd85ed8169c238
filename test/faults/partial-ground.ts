/** Where a pull of the lacking files meets faults: a repository that has version 1, a registry that has version 2 in parts. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PulledImage } from '../../ostree/index.ts';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { derive, encapsulate, makeSystem } from '../interop/import-fixture.ts';
import { applicationLayer, manyFiles, ownWriter, withLayersBy } from '../interop/partial-fixture.ts';
import { contentChecksum, IMAGE, initialiseRepository, pullFrom } from './import-harness.ts';

export class PartialGround implements AsyncDisposable {
  readonly registry: LayoutRegistry;
  /** For whatever else a test has. */
  readonly folder: string;
  /** Content checksum of version 2. */
  readonly expected: string;
  /** A repository that has fetched version 2 undisturbed, most of it from version 1. */
  readonly updated: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: Pick<PartialGround, 'registry' | 'folder' | 'expected' | 'updated'>,
    resources: AsyncDisposableStack,
  ) {
    this.registry = parts.registry;
    this.folder = parts.folder;
    this.expected = parts.expected;
    this.updated = parts.updated;
    this.#resources = resources;
  }

  static async prepare(): Promise<PartialGround> {
    await using made = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    made.defer(() => rm(folder, { recursive: true }));
    const layouts = { [IMAGE]: await makeVersion(folder, '1') };
    const registry = made.use(await LayoutRegistry.start({ layouts }));
    await initialiseRepository(version1(folder));
    await pullFrom(registry, version1(folder));
    layouts[IMAGE] = await withLayersBy(ownWriter, await makeVersion(folder, '2'), join(folder, 'layout'));
    const whole = join(folder, 'whole');
    await initialiseRepository(whole);
    const { mergeCommit } = await pullFrom(registry, whole);
    const expected = await contentChecksum(whole, mergeCommit);
    const updated = join(folder, 'updated');
    await runCommand('cp', ['-a', version1(folder), updated]);
    assertSaves(await pullFrom(registry, updated));
    return new PartialGround({ registry, folder, expected, updated }, made.move());
  }

  /** Makes a repository that has version 1, instead of what is there. */
  async copyVersion1(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true });
    await runCommand('cp', ['-a', version1(this.folder), path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

function version1(folder: string): string {
  return join(folder, 'version-1');
}

/** Two layers, of which one file each differs from version to version. */
async function makeVersion(folder: string, version: string): Promise<string> {
  const images = join(folder, `images-${version}`);
  await mkdir(images);
  const base = await encapsulate(await makeSystem(images, manyFiles(version)), images, false);
  return await derive(base, join(images, 'derived'), [applicationLayer(version)]);
}

/** Otherwise nothing here is about what it is meant to be about. */
function assertSaves({ bytesFetched, bytesSaved }: PulledImage): void {
  assert.ok(bytesSaved > 4 * bytesFetched, `${bytesSaved} bytes saved, ${bytesFetched} fetched`);
}
