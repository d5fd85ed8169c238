/** The tool that reads and writes a local store: `skopeo`. */
import { CONFIG_MAX_BYTES, MANIFEST_MAX_BYTES } from './content.ts';
import { RegistryError } from './errors.ts';
import { formatImageReference, type ImageReference } from './image-reference.ts';
import { runImageTool } from './image-tool.ts';
import type { StoreTool } from './local-store.ts';

/** A copy says nothing on success; this is for its surprises. */
const COPY_OUTPUT_MAX_BYTES = 64 * 1024;

/** Asks `skopeo`. The system's signature policy (containers-policy.json) applies to its copies. */
export class Skopeo implements StoreTool {
  readonly #image: ImageReference;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(image: ImageReference, environment: NodeJS.ProcessEnv) {
    this.#image = image;
    this.#environment = environment;
  }

  manifest(signal?: AbortSignal): Promise<Buffer> {
    return this.#run(['inspect', '--raw', ...this.#daemon('--daemon-host'), this.#name()], MANIFEST_MAX_BYTES, signal);
  }

  config(signal?: AbortSignal): Promise<Buffer> {
    return this.#run(
      ['inspect', '--raw', '--config', ...this.#daemon('--daemon-host'), this.#name()],
      CONFIG_MAX_BYTES,
      signal,
    );
  }

  async copy(directory: string, signal?: AbortSignal): Promise<void> {
    await this.#run(
      [
        'copy',
        '--quiet',
        '--remove-signatures',
        ...this.#daemon('--src-daemon-host'),
        this.#name(),
        `dir:${directory}`,
      ],
      COPY_OUTPUT_MAX_BYTES,
      signal,
    );
  }

  /** Writes the image of `from`, of another transport, into the store, and its digest there into `digestFile`. */
  async write(from: string, digestFile: string, signal?: AbortSignal): Promise<void> {
    const args = ['copy', '--quiet', `--digestfile=${digestFile}`, ...this.#daemon('--dest-daemon-host'), from];
    const call = { program: 'skopeo', environment: this.#environment, outputMaxBytes: COPY_OUTPUT_MAX_BYTES, signal };
    try {
      await runImageTool({ ...call, args: [...args, this.#name()] });
    } catch (error) {
      if (!(error instanceof RegistryError) || error.code !== 'ToolMissing') throw error;
      throw new RegistryError(
        'ToolMissing',
        `${this.#name()} is written with skopeo, which is not installed (or not in $PATH): install it, or choose docker://, oci:, oci-archive: or dir:.`,
        error,
      );
    }
  }

  async #run(args: readonly string[], outputMaxBytes: number, signal: AbortSignal | undefined): Promise<Buffer> {
    try {
      return await runImageTool({ program: 'skopeo', args, environment: this.#environment, outputMaxBytes, signal });
    } catch (error) {
      if (!(error instanceof RegistryError) || error.code !== 'ToolMissing') throw error;
      const tools =
        this.#image.transport === 'containers-storage'
          ? 'skopeo or podman, and neither is installed (or in $PATH)'
          : 'skopeo, which is not installed (or not in $PATH)';
      throw new RegistryError(
        'ToolMissing',
        `${formatImageReference(this.#image)} is read with ${tools}: install it, or push the image to a registry.`,
        error,
      );
    }
  }

  /** skopeo itself does not look at this variable, which every docker client knows. */
  #daemon(flag: string): string[] {
    const host = this.#environment['DOCKER_HOST'];
    return this.#image.transport === 'docker-daemon' && host !== undefined && host !== '' ? [flag, host] : [];
  }

  #name(): string {
    return formatImageReference(storeReference(this.#image));
  }
}

/**
 * An image id of containers-storage may be written `sha256:HEX`, which skopeo takes for a name and a tag
 * (https://github.com/containers/skopeo/issues/2750).
 */
export function storeReference(image: ImageReference): ImageReference {
  if (image.transport !== 'containers-storage') return image;
  const [, store = '', name = ''] = /^(\[[^\]]*\])?(.*)$/s.exec(image.name) ?? [];
  return { ...image, name: `${store}${name.replace(/^sha256:(?=[0-9a-f]{64}$)/, '')}` };
}
