/** Where the binaries of the test control plane are: whatever set-up finds or has built. */
import { ensureControlPlane, sayOnStandardError } from '../tools/setup/index.ts';

/**
 * Returns a folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl: those in
 * `KUBEBUILDER_ASSETS` where it has them, else those of the cache, which is filled on first use.
 * Throws a SetupError that says what to do when one can be neither found nor built.
 */
export function controlPlaneBinaries(): Promise<string> {
  return ensureControlPlane(sayOnStandardError);
}
