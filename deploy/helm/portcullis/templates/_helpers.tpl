{{- define "portcullis.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "portcullis.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else if contains (include "portcullis.name" .) .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "portcullis.name" .) | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.selector" -}}
app.kubernetes.io/name: {{ include "portcullis.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portcullis.migrationSelector" -}}
app.kubernetes.io/name: {{ include "portcullis.name" . }}-migrate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Where the pods may go, if that is limited. */}}
{{- define "portcullis.egress" -}}
{{- with .Values.networkPolicy.egress -}}
egress:
  - ports:
      - port: 53
        protocol: UDP
      - port: 53
        protocol: TCP
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "portcullis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "portcullis.serviceAccount" -}}
{{- default (include "portcullis.fullname" .) .Values.serviceAccount.existing -}}
{{- end -}}

{{/* What the restricted profile of the Pod Security Standards asks of a pod, and a numeric user, as the image has it. */}}
{{- define "portcullis.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# The files of a Secret belong to this group.
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* And of a container. */}}
{{- define "portcullis.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The environment of the gateway and of the migration. The argument: root, keys (the secrets, by variable). */}}
{{- define "portcullis.env" -}}
{{- $values := .root.Values -}}
- name: PORTCULLIS_ENV
  value: production
- name: PORTCULLIS_CONFIG
  value: /etc/portcullis/portcullis.toml
- name: PUBLIC_URL
  value: {{ $values.publicUrl | quote }}
- name: HOST
  value: {{ $values.host | quote }}
- name: PORT
  value: "8000"
- name: PORTCULLIS__METRICS__LISTEN
  value: {{ printf "%s:%d" (contains ":" $values.host | ternary (printf "[%s]" $values.host) $values.host) (int $values.metrics.port) | quote }}
- name: PORTCULLIS__SERVER__DRAIN_TIMEOUT
  value: "{{ $values.stopping.drainSeconds }}s"
- name: PORTCULLIS_DATA_DIR
  value: /var/lib/portcullis
- name: TMPDIR
  value: /var/lib/portcullis
- name: PORTCULLIS__DATABASE__MIGRATE
  value: {{ eq $values.migration.by "job" | ternary "off" "auto" | quote }}
{{- with $values.trustedProxies }}
- name: PORTCULLIS__SERVER__TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- range $name, $key := .keys }}
- name: {{ $name }}_FILE
  value: /run/secrets/portcullis/{{ $key }}
{{- end }}
{{- range $name, $value := $values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "portcullis.mounts" -}}
- name: settings
  mountPath: /etc/portcullis
  readOnly: true
- name: secrets
  mountPath: /run/secrets/portcullis
  readOnly: true
# The only place to write: the socket by which `portcullis reload` and `portcullis limits` reach the gateway, and the temporary
# file of `portcullis users import`.
- name: data
  mountPath: /var/lib/portcullis
{{- end -}}

{{/* The argument: root, configMap (its name), keys. */}}
{{- define "portcullis.volumes" -}}
- name: settings
  configMap:
    name: {{ .configMap }}
- name: secrets
{{- if .root.Values.secrets.csi }}
  csi:
    readOnly: true
    {{- toYaml .root.Values.secrets.csi | nindent 4 }}
{{- else }}
  secret:
    secretName: {{ .root.Values.secrets.existingSecret }}
    defaultMode: 0440
    items:
      {{- range .keys | values | uniq | sortAlpha }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
- name: data
  emptyDir:
    sizeLimit: 64Mi
{{- end -}}
