/** Where an import meets faults: mounts of its own, a registry that has the image, and what comes of it undisturbed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { contentChecksum, IMAGE, initialiseRepository, makeFaultImage, pullFrom } from './import-harness.ts';

export class FaultGround implements AsyncDisposable {
  readonly namespace: MountNamespace;
  readonly registry: LayoutRegistry;
  /** Content checksum of the image, imported without a fault. */
  readonly expected: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: Pick<FaultGround, 'namespace' | 'registry' | 'expected'>,
    resources: AsyncDisposableStack,
  ) {
    this.namespace = parts.namespace;
    this.registry = parts.registry;
    this.expected = parts.expected;
    this.#resources = resources;
  }

  /** @param size of what can be written in the namespace, as mount(8) takes it: `2g` */
  static async prepare(size: string): Promise<FaultGround> {
    await using made = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    made.defer(() => rm(folder, { recursive: true }));
    const namespace = made.use(await MountNamespace.create(size));
    const registry = made.use(await LayoutRegistry.start({ layouts: { [IMAGE]: await makeFaultImage(folder) } }));
    const whole = join(folder, 'whole');
    await initialiseRepository(whole);
    const { mergeCommit } = await pullFrom(registry, whole);
    const expected = await contentChecksum(whole, mergeCommit);
    return new FaultGround({ namespace, registry, expected }, made.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
