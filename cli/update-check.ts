/** Looks for an update of a stored image, as several commands do, and says what was found. */
import { ociArchitecture } from '../node-agent/index.ts';
import { checkForUpdate, Repository, type UpdateCheck } from '../ostree/index.ts';
import { openImageSource, type OstreeImageReference, type RegistryOptions } from '../registry/index.ts';
import { formatBytes, shortDigest } from './format.ts';

export interface CheckRequest {
  /** Path of the repository. */
  readonly repository: string;
  readonly reference: OstreeImageReference;
  readonly registry: RegistryOptions;
  readonly architecture?: string | undefined;
}

/** Throws RegistryError, OstreeError or ImportError. */
export async function check(request: CheckRequest, signal: AbortSignal): Promise<UpdateCheck> {
  const { reference, registry } = request;
  const repository = Repository.open(request.repository);
  await using source = openImageSource(reference.image, registry);
  const platform = { os: 'linux', architecture: request.architecture ?? ociArchitecture() };
  return await checkForUpdate({ repository, source, reference, platform, signal });
}

/** For people. */
export function describeCheck(image: string, check: UpdateCheck): string {
  const version = check.version === undefined ? '' : ` (version ${check.version})`;
  const now = `${shortDigest(check.manifestDigest)}${version}`;
  if (check.status === 'UpToDate') return `${image} is up to date: ${now}.`;
  const layers = check.layersTotal === 1 ? 'layer' : 'layers';
  const cost = `${check.layersMissing} of ${check.layersTotal} ${layers} to fetch, ${formatBytes(check.bytesMissing)}`;
  return check.status === 'NotPulled'
    ? `${image} has not been pulled: ${now}, ${cost}.`
    : `${image} has an update: ${now}, ${cost}.`;
}
