/** Pulls as commands do that deploy what they pulled. */
import { Output } from '../../cli/output.ts';
import { pullFor } from '../../cli/pull.ts';
import type { PulledImage } from '../../ostree/index.ts';
import { parseOstreeImageReference } from '../../registry/index.ts';
import { referenceTo } from './import-fixture.ts';

/** @param deploy stands for the deployment, and is shown what was pulled */
export async function pullToDeploy(
  repository: string,
  layout: string,
  deploy: (pulled: PulledImage) => Promise<void>,
): Promise<void> {
  const request = {
    repository,
    reference: parseOstreeImageReference(referenceTo(layout)),
    registry: {},
    requireBootable: true,
    merge: { allowUnsignedLayers: false },
    limits: { pull: {} },
    quiet: true,
  };
  const output = new Output('json', {
    stdout: () => undefined,
    stderr: { write: () => true, isTTY: false, columns: 80 },
  });
  await pullFor(request, output, new AbortController().signal, deploy);
}
