{{/* Labels of every object of the plan. */}}
{{- define "serving.labels" -}}
app.kubernetes.io/name: triton
app.kubernetes.io/part-of: tritonpack
tritonpack/plan: {{ .Values.plan.name }}
{{- end }}

{{/* What selects the pods of one server; not the plan, because a selector can never be changed. */}}
{{- define "serving.selector" -}}
tritonpack/server: {{ .server.name }}
{{- end }}

{{/* Ports of a Service. */}}
{{- define "serving.ports" -}}
- name: http
  port: 8000
  targetPort: http
- name: grpc
  port: 8001
  targetPort: grpc
- name: metrics
  port: 8002
  targetPort: metrics
{{- end }}
