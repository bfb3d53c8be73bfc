{{/* Labels of every object. */}}
{{- define "analyze.labels" -}}
app.kubernetes.io/name: tritonpack-analyze
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: tritonpack
{{- end }}

{{/* Where the measurements are: the store of the Secret, else the results. */}}
{{- define "analyze.profiles" -}}
{{ if .Values.store.secretName }}$(STORE_URL){{ else }}/results{{ end }}
{{- end }}

{{/* What all steps have. */}}
{{- define "analyze.step" -}}
image: {{ .Values.image.name | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
workingDir: /results
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- if .Values.store.secretName }}
env:
  - name: STORE_URL
    valueFrom:
      secretKeyRef:
        name: {{ .Values.store.secretName }}
        key: {{ .Values.store.key }}
{{- end }}
volumeMounts:
  - name: results
    mountPath: /results
  - name: models
    mountPath: /models
    readOnly: true
  - name: shm
    mountPath: /dev/shm
  - name: tmp
    mountPath: /tmp
{{- end }}

{{/* Resources of the step that measures: the GPUs besides what the values say. */}}
{{- define "analyze.resources" -}}
{{- $gpus := dict }}
{{- if .Values.gpu.count }}
{{- $gpus = dict .Values.gpu.resource .Values.gpu.count }}
{{- end }}
{{- $limits := merge $gpus (default (dict) .Values.resources.limits) }}
{{- toYaml (merge (dict "limits" $limits) .Values.resources) }}
{{- end }}
