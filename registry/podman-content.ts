/**
 * An image in containers-storage where there is podman but no skopeo. podman does not show the manifest that the image was
 * pulled with: what it saves has one of its own, whose digest is recorded then, and even to look costs a copy.
 */
import type { ContentStore, Document } from './content.ts';
import { formatImageReference, type ImageReference, invalid } from './image-reference.ts';
import { ImageCopy } from './image-copy.ts';
import type { BlobReadOptions } from './image-source.ts';
import { runImageTool } from './image-tool.ts';
import type { Descriptor } from './oci.ts';

/** A save says nothing on success; this is for its surprises. */
const OUTPUT_MAX_BYTES = 64 * 1024;

export class PodmanContent implements ContentStore {
  readonly label: string;
  readonly #copy: ImageCopy;

  /** @throws RegistryError `InvalidReference` for a store specification that is malformed. */
  constructor(image: ImageReference, environment: NodeJS.ProcessEnv, scratchParent: string) {
    this.label = formatImageReference(image);
    const { flags, name } = podmanStore(image);
    const make = async (directory: string, signal?: AbortSignal): Promise<void> => {
      const args = [...flags, 'image', 'save', '--quiet', '--format', 'docker-dir', '--output', directory, name];
      await runImageTool({ program: 'podman', args, environment, outputMaxBytes: OUTPUT_MAX_BYTES, signal });
    };
    this.#copy = new ImageCopy(make, scratchParent, this.label);
  }

  async top(signal?: AbortSignal): Promise<Document> {
    return await (await this.#copy.content(signal)).top(signal);
  }

  async manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document> {
    return await (await this.#copy.content(signal)).manifest(descriptor, signal);
  }

  async *openBlob(descriptor: Descriptor, options: BlobReadOptions = {}): AsyncIterable<Buffer> {
    yield* (await this.#copy.content(options.signal)).openBlob(descriptor, options);
  }

  async *openRange(
    descriptor: Descriptor,
    offset: number,
    length: number,
    options: BlobReadOptions = {},
  ): AsyncIterable<Buffer> {
    yield* (await this.#copy.content(options.signal)).openRange(descriptor, offset, length, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#copy[Symbol.asyncDispose]();
  }
}

/**
 * `[[driver@]graphroot[+runroot][:options]]name` (containers-transports(5)) as podman's global flags and a name.
 * @throws RegistryError `InvalidReference`
 */
export function podmanStore(image: ImageReference): { readonly flags: readonly string[]; readonly name: string } {
  const [, store, name = ''] = /^(?:\[([^\]]*)\])?(.*)$/s.exec(image.name) ?? [];
  if (store === undefined) return { flags: [], name };
  const [, driver, root, runroot, options] = /^(?:([^@/]*)@)?([^+:]*)(?:\+([^:]*))?(?::(.*))?$/.exec(store) ?? [];
  if (root === undefined || !root.startsWith('/') || name === '')
    throw invalid(formatImageReference(image), 'must be containers-storage:[[DRIVER@]/ROOT[+/RUNROOT][:OPTIONS]]NAME');
  const flag = (key: string, value: string | undefined): string[] =>
    value === undefined || value === '' ? [] : [key, value];
  return {
    flags: [
      ...flag('--storage-driver', driver),
      '--root',
      root,
      ...flag('--runroot', runroot),
      ...(options ?? '').split(',').flatMap((option) => flag('--storage-opt', option)),
    ],
    name,
  };
}
