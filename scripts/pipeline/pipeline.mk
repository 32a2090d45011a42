# What the workflows of .github call, and nobody else needs often. docs/pipelines.md explains it.

.PHONY: workflows audit api-breaking sbom image-push image-publish release-check release-files release-publish deploy

workflows: ## check .github with actionlint, zizmor and rules of ours, and the scripts that the pipelines call
	@scripts/workflows.sh

audit: ## look for dependencies with known vulnerabilities (needs cargo-deny and the network)
	$(CARGO) deny --log-level error check advisories

api-breaking: ## compare docs/openapi.json with that of main, or of BASE=commit: what would break clients?
	@python3 -B scripts/pipeline/api_breaking.py

sbom: ## write the bill of materials (CycloneDX) to target/sbom
	@scripts/pipeline/sbom.sh

image-push: ## push the image of this machine's processor (for image.yml)
	@scripts/pipeline/image_push.sh

image-publish: ## join the images of both processors, sign and describe them (for image.yml)
	@scripts/pipeline/image_publish.sh

release-check: ## see that tag, Cargo.toml, chart and changelog have one version; TAG=v0.1.0
	@scripts/pipeline/release_check.sh

release-files: ## collect the files of a release and their checksums (for release.yml)
	@scripts/pipeline/release_files.sh

release-publish: ## make the release (for release.yml)
	@scripts/pipeline/release_publish.sh

deploy: ## put an image into a cluster, wait for its health, go back if it fails (for deploy.yml; needs helm and cosign)
	@scripts/pipeline/deploy.sh
