FROM apache/airflow:3.3.2-python3.12

# Made here, so that the volumes mounted on them belong to the user that writes there.
USER root
RUN install --directory --owner airflow --group root --mode 0770 /opt/airflow/auth /opt/airflow/data
USER airflow

# The lock only limits versions: what it has for the demo and the tests is not installed. It comes first, so that a
# change of the plugin does not install everything anew.
WORKDIR /opt/mbi_reauth
COPY --chown=airflow:root requirements.txt ./
RUN pip install --no-cache-dir --constraint requirements.txt \
    apache-airflow \
    apache-airflow-providers-celery \
    apache-airflow-providers-common-sql \
    apache-airflow-providers-http \
    apache-airflow-providers-mysql \
    apache-airflow-providers-postgres \
    apache-airflow-providers-smtp \
    apache-airflow-providers-ssh \
    psycopg2-binary \
    redis

COPY --chown=airflow:root pyproject.toml README.md ./
COPY --chown=airflow:root plugins/mbi_reauth plugins/mbi_reauth
RUN pip install --no-cache-dir --constraint requirements.txt ".[mysql,postgres,ssh]"

WORKDIR /opt/airflow
