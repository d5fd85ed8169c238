/** The bound of the operator's heap as it ships: without a limit on its memory, V8 would collect when the machine is full. */
import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';

const MANIFEST = new URL('../../manifests/base/operator.yaml', import.meta.url);
const PERCENTAGE = /--max-old-space-size-percentage=(\d+)/;

interface Container {
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly resources?: { readonly limits?: { readonly memory?: string } };
}

/** NODE_OPTIONS of the operator's Deployment, with its share of the memory limit as a number of MiB, as it comes to in the Pod. */
export function shippedNodeOptions(): string {
  const objects = parseAllDocuments(readFileSync(MANIFEST, 'utf8')).map(
    (document) => document.toJS() as { kind: string; spec?: { template?: { spec: { containers: Container[] } } } },
  );
  const [container] = objects.find(({ kind }) => kind === 'Deployment')?.spec?.template?.spec.containers ?? [];
  const options = container?.env?.find(({ name }) => name === 'NODE_OPTIONS')?.value ?? '';
  const percentage = PERCENTAGE.exec(options)?.[1];
  const limit = /^(\d+)Mi$/.exec(container?.resources?.limits?.memory ?? '')?.[1];
  if (percentage === undefined || limit === undefined)
    throw new Error(
      'manifests/base/operator.yaml bounds the heap in another way than bench/fleet/operator-heap.ts reads',
    );
  return options.replace(PERCENTAGE, `--max-old-space-size=${Math.floor((Number(limit) * Number(percentage)) / 100)}`);
}
