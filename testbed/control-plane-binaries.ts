/** Where the binaries of the test control plane are: a folder of the contributor's, or the one that set-up built. */
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';

const REQUIRED = ['etcd', 'kube-apiserver', 'kubectl'];

/**
 * Returns the folder that `KUBEBUILDER_ASSETS` names, as other Kubernetes projects do.
 * Throws when a binary is missing from it.
 */
export async function controlPlaneBinaries(): Promise<string> {
  const folder = process.env['KUBEBUILDER_ASSETS'];
  if (folder === undefined || folder === '') {
    throw new Error('no test control plane: run `npm run setup`, or set KUBEBUILDER_ASSETS to a folder that has one');
  }
  for (const name of REQUIRED) {
    try {
      await access(join(folder, name), constants.X_OK);
    } catch (cause) {
      throw new Error(`KUBEBUILDER_ASSETS has no executable ${name}: run \`npm run setup\` or unset it`, { cause });
    }
  }
  return folder;
}
