/**
 * Writes an image where only its own tools can: `containers-storage:`, `docker-daemon:`, and `docker-archive:`, which is
 * theirs as well. It is made as an OCI layout in a scratch directory; `skopeo` takes it from there, once the manifest is
 * written. These keep layers uncompressed, and some the manifest in another form, so that the digest becomes another one.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageDestination } from './image-source.ts';
import { LayoutDestination } from './layout-destination.ts';
import type { Descriptor, ImageManifest } from './oci.ts';
import { ScratchDirectory } from './scratch-directory.ts';

const REF = 'image';

/** Copies `oci:DIRECTORY:REF` to where it belongs, and the digest that it has there into a file. */
export type CopyLayout = (layout: string, digestFile: string, signal?: AbortSignal) => Promise<void>;

export class ConvertedDestination implements ImageDestination {
  readonly #copy: CopyLayout;
  readonly #scratchParent: string;
  #opened: Promise<{ readonly scratch: ScratchDirectory; readonly layout: LayoutDestination }> | undefined;

  /** @param scratchParent as much room as the image has */
  constructor(copy: CopyLayout, scratchParent: string) {
    this.#copy = copy;
    this.#scratchParent = scratchParent;
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return this.#opened?.then(({ layout }) => layout.hasBlob(descriptor)) ?? Promise.resolve(false);
  }

  async putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    await (await this.#open()).layout.putBlob(descriptor, content, signal);
  }

  /** Returns the digest that the image has at its destination. */
  async putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    const { scratch, layout } = await this.#open();
    await layout.putManifest(manifest, signal);
    const digestFile = join(scratch.path, 'digest');
    await this.#copy(`oci:${join(scratch.path, 'layout')}:${REF}`, digestFile, signal);
    return (await readFile(digestFile, 'utf8')).trim();
  }

  #open() {
    this.#opened ??= ScratchDirectory.create(this.#scratchParent).then((scratch) => ({
      scratch,
      layout: new LayoutDestination({ path: join(scratch.path, 'layout'), ref: REF }),
    }));
    return this.#opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#opened === undefined) return;
    const [opened] = await Promise.allSettled([this.#opened]);
    if (opened.status === 'fulfilled') await opened.value.scratch[Symbol.asyncDispose]();
  }
}
