/** `treeline image compare`. */
import { ociArchitecture } from '../../node-agent/index.ts';
import { compareLayers, describeLayers, type ImageComparison } from '../../ostree/index.ts';
import { openImageSource, parseAnyImageReference, type RegistryOptions } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const imageCompare = defineCommand({
  name: 'image compare',
  summary: 'Compare the layers of two container images.',
  description: [
    'Both are looked up where they are, in registries or files; no layer is fetched and no repository needed. `treeline diff` also compares their packages.',
  ],
  args: { OLD: 'The image before.', NEW: 'The image after.' },
  flags: {
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Compare the images of this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline image compare quay.io/example/os:1 quay.io/example/os:2'],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const architecture = flags.architecture ?? ociArchitecture();
    const [before, after] = await Promise.all(
      [args.OLD, args.NEW].map((name) => layersOf(name, architecture, registry, signal)),
    );
    const { total, shared, removed, added, addedLayers, removedLayers } = compareLayers(before ?? [], after ?? []);
    output.result(
      { old: args.OLD, new: args.NEW, total, shared, removed, added, addedLayers, removedLayers },
      [row('Total new layers:', total), row('Removed layers:', removed), row('Added layers:', added)].join('\n'),
    );
    return 0;
  },
});

async function layersOf(
  name: string,
  architecture: string,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<ReturnType<typeof describeLayers>> {
  await using source = openImageSource(parseAnyImageReference(name, registry.registries).image, registry);
  return describeLayers(await source.resolve({ os: 'linux', architecture }, signal));
}

function row(title: string, { layers, bytes }: ImageComparison['total']): string {
  return `${title.padEnd(18)}${String(layers).padEnd(5)} Size: ${formatBytes(bytes)}`;
}
