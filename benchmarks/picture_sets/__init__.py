"""What ``pictures.py`` measures: each module makes some of its sets, by seed where they are generated."""
