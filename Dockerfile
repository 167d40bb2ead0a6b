# One image for every role: `docker build -t claims-gateway:0.1.0 .`
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/gateway
COPY requirements.lock pyproject.toml README.md ./
RUN /opt/gateway/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY gateway gateway
COPY adapters adapters
COPY settlement settlement
COPY audit audit
RUN /opt/gateway/bin/pip install --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps .

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /gateway
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["--help"]
