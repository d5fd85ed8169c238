/** Errors of the agent and of the host tools it runs. Codes are a closed union; each message says what to do next. */

export type AgentErrorCode =
  /** A host command is missing or exited with an error. */
  | 'CommandFailed'
  /** The sysroot is not one, has no deployment, or cannot be read. */
  | 'SysrootUnusable'
  /** What is staged is not what was to be unlocked. */
  | 'OtherDigestStaged'
  /** The image is older than what the host runs, and the order does not allow that. */
  | 'DowngradeForbidden'
  /** There is no second deployment to return to. */
  | 'NothingToRollBackTo'
  /** The image asks for kernel arguments in a way that cannot be understood. */
  | 'InvalidKernelArguments'
  /** The host cannot do what is asked of it (too old a tool, not booted). */
  | 'HostUnsupported'
  /** The host, or how the agent was started on it, lacks something without which no order can be carried out. */
  | 'HostLacking'
  /** The Kubernetes API answered with an error, or did not answer. */
  | 'KubernetesFailed'
  /** The kubeconfig or the pod's service account cannot be used. */
  | 'KubeConfigInvalid'
  /** The credentials of the pull Secret did not come, do not open, or are no docker config. */
  | 'PullSecretInvalid';

export class AgentError extends Error {
  readonly code: AgentErrorCode;
  /** HTTP status of the Kubernetes API, where there was one. */
  readonly status: number | undefined;

  constructor(code: AgentErrorCode, message: string, options?: { cause?: unknown; status?: number }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AgentError';
    this.code = code;
    this.status = options?.status;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
