// Asks the library that podman, skopeo and CRI-O verify images with whether a policy allows an image.
//
//	containers-policy POLICY.json REGISTRIES.D //HOST/NAME:TAG
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	if err := judge(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(policyFile, registriesDirectory, name string) error {
	policy, err := signature.NewPolicyFromFile(policyFile)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	judge, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	reference, err := docker.ParseReference(name)
	if err != nil {
		return err
	}
	ctx := context.Background()
	source, err := reference.NewImageSource(ctx, &types.SystemContext{
		RegistriesDirPath:           registriesDirectory,
		SystemRegistriesConfPath:    os.DevNull,
		SystemRegistriesConfDirPath: filepath.Join(registriesDirectory, "none"),
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
	})
	if err != nil {
		return err
	}
	defer source.Close()
	_, err = judge.IsRunningImageAllowed(ctx, image.UnparsedInstance(source, nil))
	return err
}
