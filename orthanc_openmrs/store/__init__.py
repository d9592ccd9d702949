"""The plugin's own database: tables, migrations, and the questions asked of them."""
