/** Pushes an image to a registry (OCI distribution specification, "Push"): blobs that are not there yet, then the manifest. */
import { BlobUpload, missingRepository } from './blob-upload.ts';
import { type Answer, drain, header } from './connection.ts';
import { RegistryError } from './errors.ts';
import { invalid } from './image-reference.ts';
import type { ImageDestination } from './image-source.ts';
import { manifestBlob } from './layout-index.ts';
import type { Descriptor, ImageIndex, ImageManifest } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryClient } from './registry-client.ts';
import { formatRegistryName, manifestReference, type RegistryName } from './registry-name.ts';

export class RegistryDestination implements ImageDestination {
  readonly #client: RegistryClient;
  readonly #name: RegistryName;
  readonly #label: string;
  readonly #mountFrom: readonly string[];

  /** @param mountFrom names of images in the same registry that may have some of the blobs */
  constructor(name: RegistryName, options: RegistryOptions, mountFrom: readonly RegistryName[] = []) {
    this.#label = formatRegistryName(name);
    if (name.digest !== undefined)
      throw invalid(this.#label, 'has a digest, but an image is pushed to a tag: leave it out');
    this.#name = name;
    const others = mountFrom.filter(({ host, repository }) => host === name.host && repository !== name.repository);
    this.#mountFrom = [...new Set(others.map(({ repository }) => repository))];
    this.#client = new RegistryClient(name, 'pull,push', options, this.#mountFrom);
  }

  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#client.hasBlob(descriptor.digest, signal);
  }

  async putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    const [client, label, mountFrom] = [this.#client, this.#label, this.#mountFrom];
    await new BlobUpload({ client, descriptor, content, label, mountFrom }).run(signal);
  }

  putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    return this.#putManifest(manifest, manifestReference(this.#name), signal);
  }

  /** Writes the manifest under its digest only: no tag moves. Says what it is, and whether the registry noted its `subject`. */
  async putUntagged(
    manifest: ImageManifest & { readonly subject?: Descriptor },
    signal?: AbortSignal,
  ): Promise<{ readonly descriptor: Descriptor; readonly knowsReferrers: boolean }> {
    const { descriptor } = manifestBlob(manifest);
    let subject: string | undefined;
    await this.#putManifest(manifest, descriptor.digest, signal, (answer) => {
      // OCI distribution spec v1.1, "Pushing Manifests with Subject": registries without it stay silent.
      subject = header(answer, 'oci-subject');
    });
    return { descriptor, knowsReferrers: subject !== undefined && subject === manifest.subject?.digest };
  }

  /** Writes an index under the tag, in place of what is there. Returns its digest. */
  putIndex(index: ImageIndex, signal?: AbortSignal): Promise<string> {
    return this.#putManifest(index, manifestReference(this.#name), signal);
  }

  async #putManifest(
    manifest: ImageManifest | ImageIndex,
    reference: string,
    signal: AbortSignal | undefined,
    onAnswer?: (answer: Answer) => void,
  ): Promise<string> {
    const { bytes, descriptor } = manifestBlob(manifest);
    await this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'PUT',
        target: `manifests/${reference}`,
        headers: { 'content-type': descriptor.mediaType },
        body: () => bytes,
        expect: [201],
        missing: missingRepository(this.#client),
        signal,
      });
      await drain(answer);
      onAnswer?.(answer);
      const stored = header(answer, 'docker-content-digest');
      if (stored !== undefined && stored !== descriptor.digest) {
        throw new RegistryError(
          'DigestMismatch',
          `Registry ${this.#name.host} stored the manifest of ${this.#label} as ${stored.slice(0, 80)} instead of ${descriptor.digest}: it changes what is pushed; do not use it.`,
        );
      }
    }, signal);
    return descriptor.digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}
